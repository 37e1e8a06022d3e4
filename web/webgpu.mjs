// A WebGPU device for the runtime (web/webgpu.cpp): buffers by number, kernels in WGSL, launches that are recorded once and replayed.
//
//   const gpu = await Gpu.open(navigator.gpu);  // null where there is none
//   const runtime = await Runtime.start(module, files, { gpu });
//
// What is replayed and a read behind it go into one submission. Errors of WebGPU are told with the next read.

const kOffset = 256, kUniformStride = 256;  // the alignments that every device has
const kGroupsPerRow = 32768;                // src/formats/library.h
const kMostBytes = 4 * 2 ** 30;

const up = (n, to) => Math.ceil(n / to) * to;

export class Gpu {
  // Of all that the runtime asked for: what a step costs.
  counts = { buffers: 0, pipelines: 0, bindGroups: 0, writes: 0, dispatches: 0, copies: 0, submits: 0, reads: 0 };

  static async open(gpu) {
    const adapter = await gpu?.requestAdapter();
    if (!adapter) return null;
    const features = ['subgroups', 'shader-f16'].filter((name) => adapter.features.has(name));
    const limits = {};
    for (const name of ['maxStorageBufferBindingSize', 'maxBufferSize', 'maxComputeWorkgroupStorageSize']) limits[name] = adapter.limits[name];
    const device = await adapter.requestDevice({ requiredFeatures: features, requiredLimits: limits });
    return new Gpu(adapter, device);
  }

  #device; #about; #memory = null;
  #objects = [null]; #free = [];  // buffers, kernel sets and recordings by number
  #encoder = null;                // replayed, and not submitted yet
  #staging = null; #read = null; #failure = '';
  constructor(adapter, device) {
    this.#device = device;
    const { vendor, architecture, description, subgroupMinSize: least, subgroupMaxSize: most } = adapter.info;
    const limits = device.limits;
    this.#about = {
      description: [vendor, architecture].filter(Boolean).join(' ') || description || 'WebGPU',
      lanes: device.features.has('subgroups') && least === most ? least : 0,
      software: Boolean(adapter.info.isFallbackAdapter) || /llvmpipe|swiftshader/i.test(`${architecture} ${description}`),
      group: limits.maxComputeInvocationsPerWorkgroup, shared: limits.maxComputeWorkgroupStorageSize,
      binding: limits.maxStorageBufferBindingSize, memory: kMostBytes,
    };
    device.lost.then((info) => this.#fail(`the device was lost: ${info.message}`));
    device.addEventListener('uncapturederror', (event) => this.#fail(event.error.message));
  }

  get about() { return this.#about; }
  // What a host awaits between two polls.
  arrival() { return this.#read?.promise ?? Promise.resolve(); }
  destroy() { this.#device.destroy(); }

  // The functions that runtime.wasm imports; `memory()` is the instance's. What an earlier instance left is destroyed.
  imports(memory) {
    for (const object of this.#objects) {
      object?.destroy?.();
      object?.own?.forEach((buffer) => buffer.destroy());
    }
    this.#objects = [null];
    this.#free = [];
    this.#encoder = this.#read = null;
    this.#memory = memory;
    const guarded = (work, failed) => (...values) => {
      try {
        return work(...values);
      } catch (problem) {
        this.#fail(problem.message);
        return failed;
      }
    };
    return {
      describe: (to, room) => this.#put(JSON.stringify(this.#about), to, room),
      allocate: guarded((bytes) => this.#allocate(bytes), 0),
      free: (handle) => { this.#flush(); this.#objects[handle].destroy(); this.#drop(handle); },
      write: guarded((handle, offset, from, bytes) => this.#write(handle, offset, from, bytes)),
      load: guarded((kernels, count) => this.#load(kernels, count), 0),
      unload: (handle) => this.#drop(handle),
      record: guarded((kernels, words, launches) => this.#record(this.#objects[kernels], words, launches), 0),
      replay: guarded((handle) => this.#replay(this.#objects[handle])),
      forget: (handle) => { this.#flush(); for (const own of this.#objects[handle].own) own.destroy(); this.#drop(handle); },
      begin_read: guarded((handle, offset, bytes) => this.#beginRead(handle, offset, bytes)),
      poll: (to, bytes) => this.#poll(to, bytes),
      failure: (to, room) => this.#put(this.#failure, to, room),
    };
  }

  #fail(message) { if (!this.#failure) this.#failure = message; }
  #bytes(at, bytes) { return new Uint8Array(this.#memory().buffer, at >>> 0, bytes >>> 0); }
  #text(at, bytes) { return new TextDecoder().decode(this.#bytes(at, bytes).slice()); }
  #put(string, to, room) {
    const bytes = new TextEncoder().encode(string);
    this.#bytes(to, room).set(bytes.subarray(0, room));
    return bytes.length;
  }
  #keep(object) {
    const handle = this.#free.pop() ?? this.#objects.length;
    this.#objects[handle] = object;
    return handle;
  }
  #drop(handle) { this.#objects[handle] = null; this.#free.push(handle); }

  #make(bytes, usage) {
    ++this.counts.buffers;
    return this.#device.createBuffer({ size: Math.max(up(bytes, 16), 16), usage });
  }
  #allocate(bytes) {
    if (bytes > this.#device.limits.maxBufferSize) return 0;
    return this.#keep(this.#make(bytes, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST));
  }
  // WebGPU writes whole words. Buffers end at a multiple of 16 bytes, and what the last word holds behind what is written is
  // read by no kernel.
  #write(handle, offset, from, bytes) {
    this.#flush();
    ++this.counts.writes;
    const whole = Math.floor(bytes / 4) * 4, queue = this.#device.queue, buffer = this.#objects[handle];
    if (whole > 0) queue.writeBuffer(buffer, offset, this.#memory().buffer, from >>> 0, whole);
    if (whole === bytes) return;
    const word = new Uint8Array(4);
    word.set(this.#bytes(from + whole, bytes - whole));
    queue.writeBuffer(buffer, offset + whole, word);
  }

  #load(kernels, count) {
    const list = [], view = new DataView(this.#memory().buffer);
    for (let i = 0; i < count; ++i) {
      const at = (kernels >>> 0) + 28 * i, word = (n) => view.getUint32(at + 4 * n, true);
      const name = this.#text(word(0), word(1)), code = this.#text(word(2), word(3));
      const entries = [...code.matchAll(/@binding\((\d+)\) var<(storage, read_write|storage, read|uniform)>/g)].map((m) => ({
        binding: Number(m[1]), visibility: GPUShaderStage.COMPUTE,
        buffer: { type: { 'storage, read': 'read-only-storage', 'storage, read_write': 'storage', uniform: 'uniform' }[m[2]] },
      }));
      const layout = this.#device.createBindGroupLayout({ entries });
      ++this.counts.pipelines;
      const pipeline = this.#device.createComputePipeline({
        layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module: this.#device.createShaderModule({ code }), entryPoint: name },
      });
      list.push({ name, layout, pipeline, types: entries.map((e) => e.buffer.type), buffers: word(4), dims: word(5), written: word(6) });
    }
    return this.#keep(list);
  }

  #record(kernels, words, count) {
    const list = new Uint32Array(this.#memory().buffer, words >>> 0), launches = [], own = [];
    let at = 0;
    for (let i = 0; i < count; ++i) {
      const kernel = kernels[list[at++]], groups = list[at++], buffers = [];
      for (let b = 0; b < kernel.buffers; ++b, at += 3)
        buffers.push({ buffer: this.#objects[list[at]], offset: list[at + 1], bytes: list[at + 2],
                       writable: kernel.types[b] === 'storage', stored: (kernel.written >> b & 1) === 1 });
      const dims = list.slice(at, at += kernel.dims);
      if (groups > 0) launches.push({ kernel, groups, buffers, dims });
    }
    const withDims = launches.filter((l) => l.dims.length > 0);
    const uniforms = this.#uniforms(withDims, own);
    for (const launch of launches) this.#bind(launch, uniforms, withDims.indexOf(launch), own);
    return this.#keep({ launches, own });
  }
  // The dims of all launches in one buffer.
  #uniforms(launches, own) {
    if (launches.length === 0) return null;
    const values = new Uint32Array(launches.length * kUniformStride / 4);
    launches.forEach((l, i) => values.set(l.dims, i * kUniformStride / 4));
    const buffer = this.#make(values.byteLength, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    own.push(buffer);
    this.#flush();
    this.#device.queue.writeBuffer(buffer, 0, values);
    return buffer;
  }
  // A launch's bind group; what WebGPU would refuse of its buffers gets memory of its own, copied before and behind.
  #bind(launch, uniforms, place, own) {
    const { kernel, buffers } = launch;
    launch.before = [];
    launch.behind = [];
    const entries = buffers.map((b, binding) => {
      const size = up(b.bytes || b.buffer.size - b.offset, 4);
      if (!needsOwn(buffers, binding)) return { binding, resource: { buffer: b.buffer, offset: b.offset, size } };
      const mine = this.#make(size, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST);
      own.push(mine);
      launch.before.push([b.buffer, b.offset, mine, 0, size]);
      if (b.stored) launch.behind.push([mine, 0, b.buffer, b.offset, size]);
      return { binding, resource: { buffer: mine, offset: 0, size } };
    });
    if (kernel.dims > 0)
      entries.push({ binding: kernel.buffers, resource: { buffer: uniforms, offset: place * kUniformStride, size: up(4 * kernel.dims, 16) } });
    ++this.counts.bindGroups;
    launch.group = this.#device.createBindGroup({ layout: kernel.layout, entries });
  }

  #replay(recording) {
    const encoder = this.#encoder ??= this.#device.createCommandEncoder();
    let pass = null;
    const copy = (list) => {
      if (list.length === 0) return;
      pass?.end();
      pass = null;
      for (const values of list) { encoder.copyBufferToBuffer(...values); ++this.counts.copies; }
    };
    for (const launch of recording.launches) {
      copy(launch.before);
      pass ??= encoder.beginComputePass();
      pass.setPipeline(launch.kernel.pipeline);
      pass.setBindGroup(0, launch.group);
      pass.dispatchWorkgroups(Math.min(launch.groups, kGroupsPerRow), Math.ceil(launch.groups / kGroupsPerRow));
      ++this.counts.dispatches;
      copy(launch.behind);
    }
    pass?.end();
  }
  // Writes go around the encoder: what was replayed before them is submitted before them.
  #flush() {
    if (!this.#encoder) return;
    this.#device.queue.submit([this.#encoder.finish()]);
    ++this.counts.submits;
    this.#encoder = null;
  }

  #beginRead(handle, offset, bytes) {
    if (!this.#staging || this.#staging.size < up(bytes, 4)) {
      this.#staging?.destroy();
      this.#staging = this.#make(bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
    }
    this.#encoder ??= this.#device.createCommandEncoder();
    this.#encoder.copyBufferToBuffer(this.#objects[handle], offset, this.#staging, 0, up(bytes, 4));
    this.#flush();
    ++this.counts.reads;
    const read = this.#read = { state: 0, bytes };
    const staging = this.#staging;
    read.promise = staging.mapAsync(GPUMapMode.READ, 0, up(bytes, 4)).then(() => {
      read.data = new Uint8Array(staging.getMappedRange(0, up(bytes, 4))).slice(0, bytes);
      staging.unmap();
      read.state = 1;
    }, (problem) => {
      this.#fail(problem.message);
      read.state = -1;
    });
  }
  #poll(to, bytes) {
    if (this.#failure) return -1;
    if (!this.#read) return -1;
    if (this.#read.state !== 1) return this.#read.state;
    this.#bytes(to, bytes).set(this.#read.data.subarray(0, bytes));
    this.#read = null;
    return 1;
  }
}

// WebGPU wants offsets of 256, one kind of access to a buffer in a dispatch, and no overlap of what may be written.
function needsOwn(list, i) {
  const b = list[i];
  return b.offset % kOffset !== 0 || list.some((other, j) => {
    if (j === i || other.buffer !== b.buffer) return false;
    if (other.writable !== b.writable) return !b.stored;
    return b.writable && !(b.stored && !other.stored) && other.offset < b.offset + b.bytes && b.offset < other.offset + other.bytes;
  });
}

// For hosts without WebGPU: there is no device, and nothing else is ever called.
export const noGpuImports = Object.fromEntries(
  ['describe', 'allocate', 'free', 'write', 'load', 'unload', 'record', 'replay', 'forget', 'begin_read', 'poll', 'failure'].map((name) => [name, () => 0]));
