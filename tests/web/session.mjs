// Drives the runtime in Node for runtime_test.cpp: session.mjs RUNTIME ROOT. Standard input has a JSON list of steps, each an object
// with one key, what to do; standard output receives a list with {"value"} or {"error"} for each.
import fs from 'node:fs';
import path from 'node:path';
import { webcrypto } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { Engine } from '../../web/engine.mjs';
import { NodeFiles } from '../../web/node_files.mjs';
import { Runtime } from '../../web/runtime.mjs';
import { Gpu } from '../../web/webgpu.mjs';

globalThis.crypto ??= webcrypto;  // Node 18
const [runtimeFile, root] = process.argv.slice(2);
const module = await WebAssembly.compile(fs.readFileSync(runtimeFile));

// Files that count what is asked of them, and fail as told.
class CountedFiles extends NodeFiles {
  counts = { reads: 0, largest: 0, bytes: {} };
  failing = '';
  claimed = {};  // lengths that files pretend to have
  bytes(name) { return this.claimed[name] ?? super.bytes(name); }
  read(name, offset, to) {
    if (this.failing && name.includes(this.failing)) return -1;
    ++this.counts.reads;
    this.counts.largest = Math.max(this.counts.largest, to.length);
    this.counts.bytes[name] = (this.counts.bytes[name] ?? 0) + to.length;
    return super.read(name, offset, to);
  }
}

const files = new CountedFiles(root);
let runtime, engine, memory, gpu = null;
// The memory of the instance that was made last: what a trap is made with.
const makeMemory = WebAssembly.Memory;
WebAssembly.Memory = function (limits) { return memory = new makeMemory(limits); };

const actions = {
  // Dawn, of the folder that scripts/dawn made; what is started later runs on it.
  dawn: async (folder) => {
    const { create, globals } = await import(pathToFileURL(path.join(folder, 'package/index.js')));
    Object.assign(globalThis, globals);
    globalThis.keptGpu = create([]);  // collected, it would end this process
    gpu = await Gpu.open(keptGpu);
    return gpu.about;
  },
  start: async (options) => { runtime = await Runtime.start(module, files, { gpu, ...options }); return 'started'; },
  open: async (options) => runtime.open(options),
  forward: async ({ tokens, anew }) => Buffer.from((await runtime.forward(tokens, anew)).buffer).toString('base64'),
  request: async (body) => {
    const id = runtime.request(body), updates = [];
    for await (const update of runtime.updates()) updates.push(update);
    return { id, updates };
  },
  memory: async () => runtime.memoryBytes,
  gpu_counts: async () => ({ ...gpu.counts }),
  files: async () => files.counts,
  claim_bytes: async (lengths) => { files.claimed = lengths; return lengths; },
  fail_reads_of: async (name) => { files.failing = name; return name; },
  engine: async ({ open, options }) => { engine = await Engine.start(module, files, open, options); return engine.model; },
  complete: async (body) => engine.complete(body),
  // Answers several at once; the outcome of each.
  complete_all: async (bodies) => (await Promise.allSettled(bodies.map((body) => engine.complete(body))))
    .map((one) => one.status === 'fulfilled' ? { value: one.value } : { error: one.reason.message }),
  // Answers a body, and at its first token overwrites all that the program keeps in memory.
  complete_in_ruins: async (body) => engine.complete(body, () => new Uint8Array(memory.buffer).fill(0xff, 1 << 20)),
  instances: async () => engine.instances,
};

const outcomes = [];
for (const step of JSON.parse(fs.readFileSync(0, 'utf8'))) {
  const [[name, value]] = Object.entries(step);
  try {
    outcomes.push({ value: await actions[name](value) });
  } catch (problem) {
    outcomes.push({ error: problem.message });
  }
}
process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));  // Dawn would keep the process
