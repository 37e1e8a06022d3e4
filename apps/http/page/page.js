// The chat page: keeps the conversation, streams answers, shows markdown. Nothing the model writes becomes markup:
// every node is made here and filled with textContent.
"use strict";

const at = (id) => document.getElementById(id);
let messages = [];  // {role, content} of the conversation, without the system prompt
let stopper = null;  // of the answer under way

function inline(parent, text) {
  // `code`, **bold**, *italic*
  const pattern = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|\*([^*\s][^*\n]*)\*/g;
  let done = 0;
  for (const found of text.matchAll(pattern)) {
    parent.append(text.slice(done, found.index));
    const name = found[1] !== undefined ? "code" : found[2] !== undefined ? "strong" : "em";
    const node = document.createElement(name);
    node.textContent = found[1] ?? found[2] ?? found[3];
    parent.append(node);
    done = found.index + found[0].length;
  }
  parent.append(text.slice(done));
}

function block(parent, lines) {
  const text = lines.join("\n").trim();
  if (!text) return;
  const heading = /^(#{1,4}) (.*)$/.exec(text);
  if (heading && lines.length === 1) {
    const node = document.createElement("h" + (heading[1].length + 1));
    inline(node, heading[2]);
    parent.append(node);
    return;
  }
  const marker = /^\s*(?:[-*]|\d+\.) /;
  if (lines.every((line) => marker.test(line))) {
    const list = document.createElement(/^\s*\d/.test(lines[0]) ? "ol" : "ul");
    for (const line of lines) {
      const item = document.createElement("li");
      inline(item, line.replace(marker, ""));
      list.append(item);
    }
    parent.append(list);
    return;
  }
  const paragraph = document.createElement("p");
  inline(paragraph, text);
  parent.append(paragraph);
}

function markdown(parent, text) {
  parent.replaceChildren();
  let lines = [], code = null;
  const flush = () => { block(parent, lines); lines = []; };
  for (const line of text.split("\n")) {
    if (/^\s*```/.test(line)) {
      flush();
      if (code === null) {
        const pre = document.createElement("pre");
        code = document.createElement("code");
        pre.append(code);
        parent.append(pre);
      } else {
        code = null;
      }
    } else if (code !== null) {
      code.textContent += line + "\n";
    } else if (line.trim() === "" || /^#{1,4} /.test(line)) {
      flush();
      if (line.trim()) { lines = [line]; flush(); }
    } else {
      lines.push(line);
    }
  }
  flush();
}

function show(role, text) {
  const node = document.createElement("div");
  node.className = "turn " + role;
  if (role === "assistant") markdown(node, text); else node.textContent = text;
  at("chat").append(node);
  node.scrollIntoView({ block: "end" });
  return node;
}

function headers() {
  const result = { "content-type": "application/json" };
  if (at("key").value) result.authorization = "Bearer " + at("key").value;
  return result;
}

function request() {
  const body = { model: at("model").dataset.id || "", stream: true, stream_options: { include_usage: true } };
  const system = at("system").value.trim();
  body.messages = (system ? [{ role: "system", content: system }] : []).concat(messages);
  for (const name of ["temperature", "top_p", "max_tokens", "seed"])
    if (at(name).value !== "") body[name] = Number(at(name).value);
  return body;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

function busy(on) {
  at("stop").hidden = !on;
  at("send").disabled = on;
  at("again").hidden = on || messages.at(-1)?.role !== "assistant";
}

async function answer() {
  const node = show("assistant", "");
  const begun = performance.now();
  let text = "", first = 0;
  stopper = new AbortController();
  busy(true);
  try {
    const response = await fetch("v1/chat/completions",
      { method: "POST", headers: headers(), body: JSON.stringify(request()), signal: stopper.signal });
    if (!response.ok) throw new Error((await response.json()).error.message);
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      const delta = chunk.choices[0]?.delta?.content;
      if (delta) {
        first ||= performance.now();
        text += delta;
        markdown(node, text);
        node.scrollIntoView({ block: "end" });
      }
      if (chunk.usage && first) {
        const seconds = (performance.now() - first) / 1000;
        const rate = (chunk.usage.completion_tokens / seconds).toFixed(1);
        at("speed").textContent = `${rate} tokens/s, first after ${((first - begun) / 1000).toFixed(2)} s`;
      }
    }
  } catch (error) {
    if (error.name !== "AbortError") {
      node.classList.add("error");
      node.textContent = error.message;
      text = "";
    }
  }
  if (text) messages.push({ role: "assistant", content: text });
  stopper = null;
  busy(false);
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text || stopper) return;
  at("text").value = "";
  if (messages.at(-1)?.role === "user") messages.pop();  // its answer failed
  messages.push({ role: "user", content: text });
  show("user", text);
  answer();
});
at("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("ask").requestSubmit();
});
at("stop").addEventListener("click", () => stopper?.abort());
at("again").addEventListener("click", () => {
  if (messages.at(-1)?.role !== "assistant") return;
  messages.pop();
  at("chat").lastElementChild.remove();
  answer();
});
at("new").addEventListener("click", () => {
  stopper?.abort();
  messages = [];
  at("chat").replaceChildren();
  at("speed").textContent = "";
  busy(false);
  at("text").focus();
});

fetch("v1/models", { headers: headers() }).then((response) => response.json()).then((models) => {
  at("model").textContent = at("model").dataset.id = models.data[0].id;
}).catch(() => {});
