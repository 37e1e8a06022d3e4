// A model that goes on serving: requests of several callers on one instance of the runtime, and when that is lost (a trap,
// runtime.mjs) the requests at work fail with one sentence and the next one is served by a new instance.
//
//   const engine = await Engine.start(wasmModule, files, { folder: 'model', library: 'model/model.wasm' });
//   const answer = await engine.complete({ messages: [{ role: 'user', content: 'Hi' }] }, (update) => show(update.text));
import { Runtime, Trapped } from './runtime.mjs';

export class Engine {
  // `open`: what Runtime.open takes; `options`: those of Runtime.start. Throws where the model cannot be opened.
  static async start(module, files, open, options = {}) {
    const engine = new Engine(module, files, open, options);
    await engine.#ready();
    return engine;
  }

  // Answers a body of /v1/chat/completions or, with `prompt`, /v1/completions; `onUpdate` hears of each step that adds to it.
  // Gives {text, tokens, finish_reason, usage}. Throws an Error with one sentence: the field that is wrong, or what ended it.
  async complete(body, onUpdate = () => {}) {
    const runtime = await this.#ready();
    return new Promise((resolve, reject) => {
      let id;
      try {
        id = runtime.request(body);
      } catch (problem) {
        this.#lose(problem);
        reject(problem);
        return;
      }
      this.#calls.set(id, { resolve, reject, onUpdate, text: '', tokens: [] });
      if (!this.#running) this.#run(runtime);
    });
  }

  // What open() said of the model; how many instances there have been.
  get model() { return this.#model; }
  get instances() { return this.#instances; }

  #module; #files; #open; #options; #runtime = null; #starting = null; #model = null;
  #calls = new Map(); #running = false; #instances = 0;
  constructor(module, files, open, options) {
    this.#module = module;
    this.#files = files;
    this.#open = open;
    this.#options = options;
  }

  async #ready() {
    if (this.#runtime) return this.#runtime;
    this.#starting ??= (async () => {
      const runtime = await Runtime.start(this.#module, this.#files, this.#options);
      ++this.#instances;
      this.#model = runtime.open(this.#open);
      this.#runtime = runtime;
    })();
    try {
      await this.#starting;
    } finally {
      this.#starting = null;
    }
    return this.#runtime;
  }

  async #run(runtime) {
    this.#running = true;
    try {
      for await (const update of runtime.updates()) this.#take(update);
    } catch (problem) {
      this.#lose(problem);
      for (const call of this.#calls.values()) call.reject(problem);
      this.#calls.clear();
    } finally {
      this.#running = false;
    }
  }

  #take(update) {
    const call = this.#calls.get(update.id);
    if (!call) return;
    call.text += update.text;
    if (update.token >= 0) call.tokens.push(update.token);
    call.onUpdate(update);
    if (!update.finish_reason) return;
    this.#calls.delete(update.id);
    if (update.error) call.reject(new Error(update.error));
    else call.resolve({ text: call.text, tokens: call.tokens, finish_reason: update.finish_reason, usage: update.usage });
  }

  #lose(problem) {
    if (problem instanceof Trapped) this.#runtime = null;
  }
}
