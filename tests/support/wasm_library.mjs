// A model library in WebAssembly, instantiated as its host does: memory and table are the host's, the module is told where in both
// it lies (tool-conventions, DynamicLinking.md).
import fs from 'node:fs';

const kStackBytes = 1 << 16, kPage = 1 << 16, kMostPages = 1 << 15;
export const align = (n, to) => Math.ceil(n / to) * to;

// Bytes of memory, their alignment and entries of the table that a module wants.
function wants(module) {
  const sections = WebAssembly.Module.customSections(module, 'dylink.0');
  if (sections.length !== 1) throw new Error(`${sections.length} sections dylink.0`);
  const bytes = new Uint8Array(sections[0]);
  let at = 0;
  const number = () => {
    let value = 0, shift = 0, byte;
    do { byte = bytes[at++]; value += (byte & 127) * 2 ** shift; shift += 7; } while (byte & 128);
    return value;
  };
  for (;;) {
    const kind = number(), end = number() + at;
    if (kind !== 1) { at = end; continue; }
    return { memory: number(), alignment: 2 ** number(), table: number() };
  }
}

export class Library {
  constructor(file) {
    const module = new WebAssembly.Module(fs.readFileSync(file)), need = wants(module);
    const stackTop = kPage + kStackBytes;  // address 0 is no place
    const base = align(stackTop, Math.max(need.alignment, 16));
    this.heap = align(base + need.memory, 64);  // where free memory begins
    this.memory = new WebAssembly.Memory({ initial: align(this.heap, kPage) / kPage, maximum: kMostPages });
    this.table = new WebAssembly.Table({ initial: 1 + need.table, element: 'anyfunc' });
    const fixed = (value) => new WebAssembly.Global({ value: 'i32' }, value);
    const instance = new WebAssembly.Instance(module, { env: {
      memory: this.memory, __indirect_function_table: this.table, __memory_base: fixed(base), __table_base: fixed(1),
      __stack_pointer: new WebAssembly.Global({ value: 'i32', mutable: true }, stackTop),
    } });
    instance.exports.__wasm_apply_data_relocs?.();
    this.address = base + instance.exports.mlc_model_library.value;  // of its MlcModelLibrary (src/formats/library.h)
    if (Buffer.from(this.memory.buffer, this.address, 8).toString() !== 'MLCMODEL') throw new Error('no library is exported');
  }

  // Makes memory of at least `end` bytes.
  grow(end) {
    const missing = end - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(align(missing, kPage) / kPage);
  }

  // A CPU kernel's tiles [0, tiles) in pieces, the last first, so that a kernel that relies on their order shows.
  run(kernel, pointers, extents, tiles, piece, scratch) {
    for (let begin = Math.floor((tiles - 1) / piece) * piece; begin >= 0; begin -= piece)
      kernel(pointers, extents, BigInt(begin), BigInt(Math.min(tiles, begin + piece)), scratch);
  }
}
