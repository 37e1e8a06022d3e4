// Files of this machine for runtime.mjs, in Node: ranges of them, through descriptors that stay open.
import fs from 'node:fs';
import path from 'node:path';

export class NodeFiles {
  // `root`: the folder that paths of the runtime are relative to; nothing outside of it is opened.
  constructor(root) { this.root = path.resolve(root); }

  bytes(name) {
    const place = this.#place(name);
    const state = place && fs.statSync(place, { throwIfNoEntry: false });
    return !state ? -1 : state.isDirectory() ? -2 : state.isFile() ? state.size : -1;
  }
  read(name, offset, to) {
    try {
      if (!this.#open.has(name)) this.#open.set(name, fs.openSync(this.#place(name), 'r'));
      return fs.readSync(this.#open.get(name), to, 0, to.length, offset);
    } catch {
      return -1;
    }
  }
  names(name) {
    try {
      return fs.readdirSync(this.#place(name));
    } catch {
      return [];
    }
  }
  close() {
    for (const file of this.#open.values()) fs.closeSync(file);
    this.#open.clear();
  }

  #open = new Map();
  #place(name) {
    const place = path.resolve(this.root, name);
    return place === this.root || place.startsWith(this.root + path.sep) ? place : null;
  }
}
