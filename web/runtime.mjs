// One instance of runtime.wasm, driven through the C interface of runtime.cpp.
//
//   const runtime = await Runtime.start(wasmModule, files);
//   runtime.open({ folder: 'model', library: 'model/model.wasm' });
//   const id = runtime.request({ messages: [{ role: 'user', content: 'Hi' }] });
//   for await (const update of runtime.updates()) ...
//
// `files` has what the runtime reads: bytes(path) gives a file's length, -1 where there is none, -2 for a folder;
// read(path, offset, to) fills the array `to` and gives how many bytes it wrote; names(path) a folder's names. All are
// synchronous: in Node and in workers files can be read so. Weights are asked for a tensor at a time.
//
// A call that throws Trapped has lost the instance (abort, a panic, no memory left): what was open is gone, and only a new
// instance serves (engine.mjs does that).
import { linkLibrary, pagesFor } from './side_module.mjs';
import { wasiImports } from './wasi.mjs';
import { noGpuImports } from './webgpu.mjs';

export class Trapped extends Error {}

const kInitialBytes = 16 << 20, kMostBytes = 2 ** 32;  // --initial-memory and --max-memory of web/CMakeLists.txt

export class Runtime {
  // `module`: runtime.wasm, compiled. Options: maximumBytes of memory (4 GiB where absent), gpu (webgpu.mjs),
  // print(stream, text).
  static async start(module, files, options = {}) {
    const runtime = new Runtime(files, options);
    await runtime.#instantiate(module, options);
    return runtime;
  }

  // What runtime.cpp's mlc_open says. Throws an Error with one sentence.
  open(options) { return this.#json(this.#textCall('mlc_open', JSON.stringify(options))); }
  close() { this.#call('mlc_close'); }

  // Queues a body of /v1/chat/completions (or /v1/completions); gives its id.
  request(body) { return this.#checked(this.#textCall('mlc_request', JSON.stringify(body))); }
  abort(id) { this.#call('mlc_abort', id); }

  // A step, or a part of one: {idle, pending, updates}. Never waits.
  poll() {
    const outcome = this.#checked(this.#call('mlc_poll'));
    return { idle: outcome === 0, pending: outcome === 1, updates: this.#json(outcome) };
  }

  // All updates until nothing is left to do; between steps the host's event loop runs.
  async *updates() {
    for (;;) {
      const step = this.poll();
      yield* step.updates;
      if (step.idle) return;
      await this.#turn(step.pending);
    }
  }

  // The logits behind these tokens, which continue the last call's text, or begin a new one.
  async forward(tokens, anew = false) {
    const at = this.#place(new Uint8Array(Int32Array.from(tokens).buffer));
    try {
      this.#checked(this.#call('mlc_forward', at, tokens.length, anew ? 1 : 0));
      while (this.#checked(this.#call('mlc_forward_poll')) === 0) await this.#turn(true);
    } finally {
      if (!this.#dead) this.#call('mlc_release', at);
    }
    return new Float32Array(this.#result().buffer);
  }

  get memoryBytes() { return this.#memory.buffer.byteLength; }

  #files; #gpu; #memory; #exports; #print; #modules = new Map(); #dead = false; #said = '';
  constructor(files, options) {
    this.#files = files;
    this.#gpu = options.gpu ?? null;
    this.#print = options.print ?? (() => {});
  }

  // A library that was compiled beforehand: pages may not compile large modules while they wait.
  addLibrary(path, module) { this.#modules.set(path, module); }

  async #instantiate(module, options) {
    this.#memory = new WebAssembly.Memory({ initial: pagesFor(kInitialBytes), maximum: pagesFor(options.maximumBytes ?? kMostBytes) });
    const print = (stream, text) => {
      this.#said = (this.#said + text).slice(-2000);
      this.#print(stream, text);
    };
    const random = (bytes) => { for (let i = 0; i < bytes.length; i += 65536) globalThis.crypto.getRandomValues(bytes.subarray(i, i + 65536)); };
    const instance = await WebAssembly.instantiate(module, {
      env: { memory: this.#memory },
      wasi_snapshot_preview1: wasiImports(() => this.#memory, print, random),
      mlc: this.#hostImports(),
      gpu: this.#gpu ? this.#gpu.imports(() => this.#memory) : noGpuImports,
    });
    this.#exports = instance.exports;
    this.#call('_initialize');
  }

  #hostImports() {
    const text = (at, bytes) => new TextDecoder().decode(this.#bytes(at, bytes).slice());
    const put = (string, to, room) => {
      const bytes = new TextEncoder().encode(string);
      this.#bytes(to, room).set(bytes.subarray(0, room));
      return bytes.length;
    };
    return {
      file_bytes: (path, n) => this.#files.bytes(text(path, n)),
      read_file: (path, n, offset, to, bytes) => this.#files.read(text(path, n), offset, this.#bytes(to, bytes)),
      folder_names: (path, n, to, room) => put(this.#files.names(text(path, n)).sort().join('\n'), to, room),
      open_library: (path, n, error, room, errorBytes) => {
        try {
          return linkLibrary(this.#libraryModule(text(path, n)), this.#exports, this.#memory);
        } catch (problem) {
          new DataView(this.#memory.buffer).setUint32(errorBytes, Math.min(room, put(problem.message, error, room)), true);
          return 0;
        }
      },
    };
  }

  #libraryModule(path) {
    if (!this.#modules.has(path)) {
      const bytes = new Uint8Array(this.#files.bytes(path));
      this.#files.read(path, 0, bytes);
      this.#modules.set(path, new WebAssembly.Module(bytes));
    }
    return this.#modules.get(path);
  }

  #bytes(at, bytes) { return new Uint8Array(this.#memory.buffer, at >>> 0, bytes >>> 0); }
  #place(bytes) {
    const at = this.#call('mlc_allocate', bytes.length) >>> 0;
    if (at === 0) throw new Error(`no memory for ${bytes.length} bytes`);
    this.#bytes(at, bytes.length).set(bytes);
    return at;
  }
  #textCall(name, string) {
    const bytes = new TextEncoder().encode(string), at = this.#place(bytes);
    const value = this.#call(name, at, bytes.length);
    this.#call('mlc_release', at);
    return value;
  }
  // Whatever a call throws, its stack in the module is gone and the module's state with it.
  #call(name, ...values) {
    if (this.#dead) throw new Trapped('this instance of the runtime has ended; start another one');
    try {
      return this.#exports[name](...values);
    } catch (problem) {
      this.#dead = true;
      throw new Trapped(`the runtime ended: ${this.#said.trim().split('\n').pop() || problem.message}`, { cause: problem });
    }
  }
  #result() { return this.#bytes(this.#call('mlc_result'), this.#call('mlc_result_bytes')).slice(); }
  #checked(value) {
    if (value < 0) throw new Error(new TextDecoder().decode(this.#result()));
    return value;
  }
  #json(value) {
    this.#checked(value);
    return JSON.parse(new TextDecoder().decode(this.#result()));
  }
  // Until the device has news, and a turn of the event loop: whoever else waits there has his.
  async #turn(pending) {
    if (pending && this.#gpu) await this.#gpu.arrival();
    await new Promise((resume) => {
      if (globalThis.setImmediate) return setImmediate(resume);
      const { port1, port2 } = new MessageChannel();  // setTimeout would wait for milliseconds in browsers
      port1.onmessage = () => { port1.close(); resume(); };
      port2.postMessage(0);
    });
  }
}
