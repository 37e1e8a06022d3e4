// The nine functions of WASI that the runtime's C library imports: clock, random bytes, and texts on standard output and error.

const kSuccess = 0, kBadFile = 8, kNotSupported = 58;

// `memory()`: the instance's. `print(stream, text)`: what was written to 1 (output) or 2 (errors). `random(bytes)` fills an array.
export function wasiImports(memory, print, random) {
  const view = () => new DataView(memory().buffer);
  const decoder = new TextDecoder();
  const none = (count, size) => { view().setUint32(count, 0, true); view().setUint32(size, 0, true); return kSuccess; };
  return {
    environ_sizes_get: none,
    environ_get: () => kSuccess,
    args_sizes_get: none,
    args_get: () => kSuccess,
    clock_time_get: (clock, precision, out) => {  // clock 0: since 1970, others since some time; nanoseconds
      const milliseconds = clock === 0 ? Date.now() : performance.now();
      view().setBigUint64(out, BigInt(Math.round(milliseconds * 1e6)), true);
      return kSuccess;
    },
    random_get: (to, bytes) => { random(new Uint8Array(memory().buffer, to, bytes)); return kSuccess; },
    fd_close: () => kSuccess,
    fd_fdstat_get: (file, out) => {
      if (file > 2) return kBadFile;
      new Uint8Array(memory().buffer, out, 24).fill(0);
      view().setUint8(out, 2);  // a character device
      return kSuccess;
    },
    fd_seek: () => kNotSupported,
    fd_write: (file, vectors, count, written) => {
      if (file > 2) return kBadFile;
      let total = 0;
      for (let i = 0; i < count; ++i) {
        const at = view().getUint32(vectors + 8 * i, true), bytes = view().getUint32(vectors + 8 * i + 4, true);
        print(file, decoder.decode(new Uint8Array(memory().buffer, at, bytes).slice()));
        total += bytes;
      }
      view().setUint32(written, total, true);
      return kSuccess;
    },
    proc_exit: (status) => { throw new Error(`the runtime ended itself with status ${status}`); },
  };
}
