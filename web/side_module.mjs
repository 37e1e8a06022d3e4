// Model libraries as side modules: where one goes in memory and table is said to it when it is instantiated
// (WebAssembly/tool-conventions, DynamicLinking.md).

const kPage = 1 << 16;

// Bytes of memory, their alignment and entries of the table that a side module wants.
export function wantsOf(module) {
  const sections = WebAssembly.Module.customSections(module, 'dylink.0');
  if (sections.length !== 1) throw new Error('no side module of WebAssembly: compile the model with --output model.wasm');
  const bytes = new Uint8Array(sections[0]);
  let at = 0;
  const number = () => {
    let value = 0, shift = 0, byte;
    do { byte = bytes[at++]; value += (byte & 127) * 2 ** shift; shift += 7; } while (byte & 128);
    return value;
  };
  while (at < bytes.length) {
    const kind = number(), end = number() + at;
    if (kind !== 1) { at = end; continue; }
    return { memory: number(), alignment: 2 ** number(), table: number() };
  }
  throw new Error('a side module that does not say what it wants');
}

// The address in the runtime's memory of the MlcModelLibrary that `module` exports. `runtime`: the exports of runtime.wasm,
// `memory`: what both share. The memory stays the module's.
export function linkLibrary(module, runtime, memory) {
  const wants = wantsOf(module), alignment = Math.max(wants.alignment, 16);
  const place = runtime.mlc_allocate(wants.memory + alignment) >>> 0;
  if (place === 0) throw new Error(`no memory for a library of ${wants.memory} bytes`);
  const base = Math.ceil(place / alignment) * alignment;
  new Uint8Array(memory.buffer, base, wants.memory).fill(0);  // what it does not initialise
  const table = runtime.__indirect_function_table, first = table.grow(wants.table);
  const fixed = (value) => new WebAssembly.Global({ value: 'i32' }, value);
  const instance = new WebAssembly.Instance(module, { env: {
    memory, __indirect_function_table: table, __memory_base: fixed(base), __table_base: fixed(first),
    __stack_pointer: runtime.__stack_pointer,
  } });
  instance.exports.__wasm_apply_data_relocs?.();
  const symbol = instance.exports.mlc_model_library;
  if (!symbol) throw new Error('the module exports no mlc_model_library; compile the model again');
  return base + symbol.value;
}

export const pagesFor = (bytes) => Math.ceil(bytes / kPage);
