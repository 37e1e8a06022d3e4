// Runs kernel calls of a side module in Node, as foreign_runner.cpp does in an emulator: wasm_runner.mjs LIBRARY CALLS RESULT.
// Around each buffer lie bytes that a kernel must not change.
import fs from 'node:fs';
import { Library, align } from './wasm_library.mjs';

const [libraryFile, callsFile, resultFile] = process.argv.slice(2);
const kGuard = 64, kGuardByte = 0xa5;
const library = new Library(libraryFile);

// The kernels of the first variant: fields of the structs are 8 bytes, a pointer the first 4 of them.
const view = new DataView(library.memory.buffer);
const variant = view.getUint32(library.address + 32, true), kernels = view.getUint32(variant + 32, true);
const functions = Array.from({ length: Number(view.getBigUint64(variant + 40, true)) },
                             (_, i) => library.table.get(view.getUint32(kernels + 4 * i, true)));

const calls = fs.readFileSync(callsFile), out = fs.openSync(resultFile, 'w');
let at = 0;
const number = () => { at += 8; return Number(calls.readBigInt64LE(at - 8)); };
for (let left = number(); left > 0; --left) {
  const which = number(), tiles = number(), piece = number(), scratchBytes = align(number() + 64, 64);
  const dims = Array.from({ length: number() }, number);
  const buffers = Array.from({ length: number() }, () => { const size = number(); at += size; return calls.subarray(at - size, at); });
  let end = library.heap;
  const place = (bytes) => { const p = align(end + kGuard, 64); end = p + bytes + kGuard; return p; };
  const pointers = place(4 * buffers.length), extents = place(8 * dims.length), scratch = place(scratchBytes);
  const places = buffers.map((b) => place(b.length));
  library.grow(end);
  const memory = library.memory.buffer, bytes = new Uint8Array(memory);
  bytes.fill(kGuardByte, library.heap, end);
  bytes.fill(0xff, scratch, scratch + scratchBytes);  // NaNs
  buffers.forEach((b, i) => bytes.set(b, places[i]));
  new Uint32Array(memory, pointers, buffers.length).set(places);
  new BigInt64Array(memory, extents, dims.length).set(dims.map(BigInt));
  library.run(functions[which], pointers, extents, tiles, piece, scratch);
  buffers.forEach((b, i) => {
    for (const edge of [places[i] - kGuard, places[i] + b.length])
      if (bytes.subarray(edge, edge + kGuard).some((byte) => byte !== kGuardByte))
        throw new Error(`kernel ${which} wrote beside buffer ${i}`);
    fs.writeSync(out, bytes, places[i], b.length);
  });
}
fs.closeSync(out);
