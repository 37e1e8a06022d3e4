// Oniguruma's build for wasm32 leaves `extern` out of ONIG_EXTERN, so that each file that includes its header
// defines what the header only declares; scripts/wasm puts this in front of each.
#undef ONIG_EXTERN
#define ONIG_EXTERN extern
