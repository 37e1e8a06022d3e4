// The memory and kernels of a model library in WebAssembly, for wasm_device.h, which speaks with this process through its pipes:
// wasm_device.mjs LIBRARY. A request is two i64, what and its bytes, then the bytes; an answer is the bytes that were asked for.
// What goes wrong ends the process and stands on its standard error. All numbers are little-endian i64.
import fs from 'node:fs';
import { Library, align } from './wasm_library.mjs';

const kPiece = 3;  // tiles of one call
const library = new Library(process.argv[2]);
let end = library.heap;

function allocate(bytes) {
  const place = align(end, 64);
  end = place + bytes;
  library.grow(end);
  return place;
}

function receive(bytes) {
  const buffer = Buffer.alloc(bytes);
  for (let done = 0; done < bytes;) {
    const n = fs.readSync(0, buffer, done, bytes - done, null);
    if (n === 0) process.exit(0);
    done += n;
  }
  return buffer;
}

function send(bytes) {
  for (let done = 0; done < bytes.length;) done += fs.writeSync(1, bytes, done, bytes.length - done);
}

function numbers(...values) {
  return Buffer.from(new BigInt64Array(values.map(BigInt)).buffer);
}

const work = allocate(1 << 22);  // of a call: pointers, dims, scratch

// Each launch: the kernel's place in the table, tiles, scratch bytes, the buffers' addresses and the dims after their counts.
function run(request) {
  let at = 0;
  const number = () => { at += 8; return Number(request.readBigInt64LE(at - 8)); };
  while (at < request.length) {
    const kernel = library.table.get(number()), tiles = number(), scratchBytes = number();
    const buffers = Array.from({ length: number() }, number), dims = Array.from({ length: number() }, number);
    const pointers = work, extents = align(pointers + 4 * buffers.length, 64), scratch = align(extents + 8 * dims.length, 64);
    if (scratch + scratchBytes > work + (1 << 22)) throw new Error(`${scratchBytes} bytes of scratch memory`);
    new Uint32Array(library.memory.buffer, pointers, buffers.length).set(buffers);
    new BigInt64Array(library.memory.buffer, extents, dims.length).set(dims.map(BigInt));
    new Uint8Array(library.memory.buffer, scratch, scratchBytes).fill(0xff);  // NaNs
    library.run(kernel, pointers, extents, tiles, kPiece, scratch);
  }
  return Buffer.alloc(0);
}

const answers = {
  1: () => numbers(library.address),
  2: (request) => numbers(allocate(Number(request.readBigInt64LE(0)))),
  3: (request) => {  // to an address
    new Uint8Array(library.memory.buffer).set(request.subarray(8), Number(request.readBigInt64LE(0)));
    return Buffer.alloc(0);
  },
  4: (request) => {  // from an address so many bytes
    return new Uint8Array(library.memory.buffer, Number(request.readBigInt64LE(0)), Number(request.readBigInt64LE(8)));
  },
  5: run,
};

for (;;) {
  const head = receive(16), request = receive(Number(head.readBigInt64LE(8))), answer = answers[Number(head.readBigInt64LE(0))](request);
  send(numbers(answer.length));
  send(answer);
}
