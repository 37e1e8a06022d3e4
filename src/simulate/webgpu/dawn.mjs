// Runs WGSL on Dawn for src/simulate/webgpu_device.cpp, which speaks with this process through its pipes.
// Arguments: the folder that scripts/dawn made. A request is two u32, what and its bytes, then the bytes; an answer
// is two u32, 0 or 1 and its bytes, then the bytes: what was asked for, or an error's text. All little-endian.
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

const { create, globals } = await import(pathToFileURL(join(process.argv[2], 'package/index.js')));
Object.assign(globalThis, globals);
globalThis.keptGpu = create([]); // collected, it would end this process

const kOffset = 256; // minStorageBufferOffsetAlignment
const kGroupsPerRow = 32768; // kernel/ir.h
const buffers = new Map(), sets = new Map();
let device, next = 1, lost = '';

const up = (n, to) => Math.ceil(n / to) * to;

async function scoped(what, work) {
  device.pushErrorScope('validation');
  let result;
  try {
    result = await work();
  } finally {
    const error = await device.popErrorScope();
    if (error) throw new Error(`${what}: ${error.message}`);
  }
  return result;
}

async function open() {
  const adapter = await keptGpu.requestAdapter();
  if (!adapter) throw new Error('Dawn finds no adapter');
  const { subgroupMinSize: least, subgroupMaxSize: most } = adapter.info;
  const features = ['subgroups', 'shader-f16'].filter((f) => adapter.features.has(f));
  const limits = {};
  for (const name of ['maxStorageBufferBindingSize', 'maxBufferSize', 'maxComputeWorkgroupStorageSize'])
    limits[name] = adapter.limits[name];
  // Not maxStorageBuffersPerShaderStage: a kernel is held to what every device grants.
  device = await adapter.requestDevice({ requiredFeatures: features, requiredLimits: limits });
  device.lost.then((info) => { lost = info.message; });
  return Buffer.from(JSON.stringify({
    description: `${adapter.info.vendor} ${adapter.info.architecture}, Dawn`,
    lanes: features.includes('subgroups') && least === most ? least : 0,
    shared: limits.maxComputeWorkgroupStorageSize, binding: limits.maxStorageBufferBindingSize,
  }));
}

function make(bytes) {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  return device.createBuffer({ size: Math.max(up(bytes, 16), 16), usage });
}

async function allocate(request) {
  buffers.set(next, await scoped('createBuffer', () => make(Number(request.readBigUInt64LE(0)))));
  const id = Buffer.alloc(4);
  id.writeUInt32LE(next++, 0);
  return id;
}

async function readRange(buffer, from, bytes) {
  const begin = Math.floor(from / 8) * 8, size = up(from + bytes - begin, 4);
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, begin, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const out = Buffer.from(new Uint8Array(staging.getMappedRange()).slice(from - begin, from - begin + bytes));
  staging.destroy();
  return out;
}

async function write(request) {
  const buffer = buffers.get(request.readUInt32LE(0)), to = request.readUInt32LE(4), data = request.subarray(8);
  const begin = Math.floor(to / 4) * 4, end = up(to + data.length, 4);
  const whole = begin === to && end === to + data.length ? data : await readRange(buffer, begin, end - begin);
  if (whole !== data) data.copy(whole, to - begin);
  await scoped('writeBuffer', () => device.queue.writeBuffer(buffer, begin, whole, 0, whole.length));
  return Buffer.alloc(0);
}

async function load(request) {
  const kernels = [];
  for (const k of JSON.parse(request.toString())) {
    const what = `kernel ${k.name}`;
    const module = await scoped(what, () => device.createShaderModule({ code: k.code }));
    for (const m of (await module.getCompilationInfo()).messages)
      if (m.type === 'error') throw new Error(`${what}: line ${m.lineNum}: ${m.message}`);
    const entries = [...k.code.matchAll(/@binding\((\d+)\) var<(storage, read_write|storage, read|uniform)>/g)].map((m) => ({
      binding: Number(m[1]), visibility: GPUShaderStage.COMPUTE,
      buffer: { type: { 'storage, read': 'read-only-storage', 'storage, read_write': 'storage', uniform: 'uniform' }[m[2]] },
    }));
    kernels.push(await scoped(what, async () => {
      const layout = device.createBindGroupLayout({ entries });
      const pipeline = await device.createComputePipelineAsync({
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: k.name },
      });
      return { ...k, pipeline, layout, types: entries.map((e) => e.buffer.type) };
    }));
  }
  sets.set(next, kernels);
  const id = Buffer.alloc(4);
  id.writeUInt32LE(next++, 0);
  return id;
}

// WebGPU wants offsets of 256, one kind of access to a buffer in a dispatch, and no overlap of what may be
// written. A binding that breaks this goes through memory of its own: copied in, and back where it is written.
function needsOwn(list, i) {
  const b = list[i];
  return b.offset % kOffset !== 0 || b.bytes % 4 !== 0 || list.some((o, j) => {
    if (j === i || o.id !== b.id) return false;
    if (o.writable !== b.writable) return !b.stored;
    return b.writable && !(b.stored && !o.stored) && o.offset < b.offset + b.bytes && b.offset < o.offset + o.bytes;
  });
}

async function run(request) {
  let at = 0;
  const u32 = () => { const v = request.readUInt32LE(at); at += 4; return v; };
  const kernels = sets.get(u32()), launches = u32(), temporary = [];
  const encoder = device.createCommandEncoder();
  for (let l = 0; l < launches; ++l) {
    const kernel = kernels[u32()], tiles = u32(), list = [], dims = [];
    for (let i = 0; i < kernel.buffers; ++i)
      list.push({ id: u32(), offset: u32(), bytes: u32(), writable: kernel.types[i] === 'storage', stored: (kernel.written >> i & 1) === 1 });
    for (let i = 0; i < kernel.dims; ++i) dims.push(u32());
    if (tiles === 0) continue;
    const entries = [], back = [];
    list.forEach((b, i) => {
      let buffer = buffers.get(b.id), offset = b.offset;
      const size = up(b.bytes, 4);
      if (needsOwn(list, i)) {
        const own = make(size);
        temporary.push(own);
        encoder.copyBufferToBuffer(buffer, offset, own, 0, size);
        if (b.stored) back.push([own, buffer, offset, size]);
        buffer = own;
        offset = 0;
      }
      entries.push({ binding: i, resource: { buffer, offset, size } });
    });
    if (dims.length) {
      const buffer = device.createBuffer({ size: up(4 * dims.length, 16), usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
      temporary.push(buffer);
      device.queue.writeBuffer(buffer, 0, new Uint32Array(dims));
      entries.push({ binding: kernel.buffers, resource: { buffer } });
    }
    const pass = encoder.beginComputePass();
    pass.setPipeline(kernel.pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: kernel.layout, entries }));
    pass.dispatchWorkgroups(Math.min(tiles, kGroupsPerRow), Math.ceil(tiles / kGroupsPerRow));
    pass.end();
    for (const [from, to, offset, size] of back) encoder.copyBufferToBuffer(from, 0, to, offset, size);
  }
  await scoped('submit', () => device.queue.submit([encoder.finish()]));
  await device.queue.onSubmittedWorkDone();
  for (const buffer of temporary) buffer.destroy();
  return Buffer.alloc(0);
}

const answers = {
  1: open,
  2: allocate,
  3: (r) => { buffers.get(r.readUInt32LE(0)).destroy(); buffers.delete(r.readUInt32LE(0)); return Buffer.alloc(0); },
  4: write,
  5: (r) => scoped('read', () => readRange(buffers.get(r.readUInt32LE(0)), r.readUInt32LE(4), r.readUInt32LE(8))),
  6: load,
  7: run,
  8: (r) => { sets.delete(r.readUInt32LE(0)); return Buffer.alloc(0); },
};

async function answer(what, request) {
  let bytes, failed = 0;
  try {
    bytes = await answers[what](request);
    if (lost) throw new Error(`device lost: ${lost}`);
  } catch (error) {
    failed = 1;
    bytes = Buffer.from(String(error.message));
  }
  const head = Buffer.alloc(8);
  head.writeUInt32LE(failed, 0);
  head.writeUInt32LE(bytes.length, 4);
  process.stdout.write(Buffer.concat([head, bytes]));
}

let parts = [], have = 0, wanted = 8;
for await (const part of process.stdin) {
  parts.push(part);
  have += part.length;
  while (have >= wanted) {
    const all = Buffer.concat(parts);
    const size = 8 + all.readUInt32LE(4);
    parts = [all];
    if (have < size) { wanted = size; break; }
    await answer(all.readUInt32LE(0), all.subarray(8, size));
    parts = [all.subarray(size)];
    have -= size;
    wanted = 8;
  }
}
process.exit(0);
