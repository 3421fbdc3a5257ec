// The token, requests, and small helpers of all pages.

const KEY = "stedfast token";

function fromAddress() {
  const told = decodeURIComponent(location.hash.slice(1));
  if (/^[\w-]{16,64}$/.test(told)) {
    sessionStorage.setItem(KEY, told);
    // Not in the address bar, where a photograph of the screen would show it.
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEY) || "";
}

let token = fromAddress();
addEventListener("hashchange", () => { fromAddress(); location.reload(); });

export class Refused extends Error {
  constructor(status, why) { super(why); this.status = status; }
}

export const hasToken = () => token !== "";

export function setToken(text) {
  const told = text.trim().split("#").pop();
  if (!/^[\w-]{16,64}$/.test(told)) return false;
  sessionStorage.setItem(KEY, told);
  token = told;
  return true;
}

async function ask(path, options = {}) {
  const response = await fetch(path, {
    ...options,
    cache: "no-store",
    credentials: "omit",
    headers: { Authorization: `Bearer ${token}`, ...(options.headers || {}) },
  });
  if (response.ok) return response;
  let why = response.statusText;
  try { why = (await response.json()).error || why; } catch { /* it said nothing */ }
  throw new Refused(response.status, why);
}

export const read = async (path, signal) => (await ask(path, { signal })).json();

export async function picture(path, signal) {
  const response = await ask(path, { signal });
  const numbers = (name) => (response.headers.get(name) || "").split(" ").map(Number);
  return { blob: await response.blob(), limits: numbers("X-Limits"), shape: numbers("X-Shape"), pixelUm: numbers("X-Pixel")[0], places: (response.headers.get("X-Places") || "").split(", ").filter(Boolean).map((one) => one.split(" ").map(Number)), mode: response.headers.get("X-Mode") || "" };
}

export async function send(path, body) {
  const response = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return response.json();
}

export const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

export const $ = (id) => document.getElementById(id);

export function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function text(id, words) {
  const node = typeof id === "string" ? $(id) : id;
  if (node.textContent !== words) node.textContent = words;
}

export function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size < -4 || size > 6) return value.toPrecision(digits).replace("-", "−");
  const fixed = value.toFixed(Math.max(0, digits - 1 - size));
  return (fixed.includes(".") ? fixed.replace(/\.?0+$/, "") : fixed).replace("-", "−");
}

export function joules(value) {
  for (const [scale, prefix] of [[1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]]) {
    if (Math.abs(value) >= scale) return `${number(value / scale)} ${prefix}J`;
  }
  return `${number(value)} J`;
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${Math.floor(seconds / 60)} min ${String(Math.round(seconds) % 60).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

export function clock(iso) {
  if (!iso) return "–";
  const at = new Date(iso);
  return at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

export function svg(node, drawn) {
  // Parsed where no script runs, and only the drawing is taken.
  const parsed = new DOMParser().parseFromString(drawn || "", "text/html").querySelector("svg");
  node.replaceChildren(...(parsed ? [parsed] : []));
}

export function gate(id, why) {
  const box = $(id);
  box.hidden = false;
  text(box.querySelector("[data-why]"), why);
  box.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    if (setToken(box.querySelector("input").value)) location.reload();
    else text(box.querySelector("[data-why]"), "That is no link of stedfast's. Copy all of it, with what comes after the #.");
  };
}
