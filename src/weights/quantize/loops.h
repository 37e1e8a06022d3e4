// What kernels.inl and rows.inl need, ahead of the options of an instruction set: those hold for inline
// functions of headers too.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "weights/quantize/kernels.h"
