// One image at a time; an answer is on disk before the next one shows.
import { $, Refused, gate, hasToken, make, number, picture, read, send, text } from "/base.js";

const KEYS = {
  rate: [["0.7  ,7  70 %", "the score, as you would write it: 0 … 1, or in percent"], ["↑ ↓", "0.05 more, less"], ["← →", "0.01 less, more"], ["Enter", "save, next image"], ["⌫", "delete a character, or back to the image before"], ["Z", "undo: take the last answer back"], ["X", "cannot judge this image"]],
  study: [["1  ←", "the first score fits better"], ["2  →", "the second score fits better"], ["3  ↓", "equivalent"], ["X", "discard the image"], ["⌫", "back to the image before"], ["Z", "undo: take the last answer back"]],
};

const NUMBER = /^[0-9.,% ]$/;
const LONGEST = 8;

let state = null;
let value = null;
let typed = "";
let ahead = "";
let busy = true;
let drawn = null;

const problem = (words) => { $("problem").hidden = !words; text("problem", words || ""); };

async function load(at) {
  busy = true;
  try {
    show(await read(`/api/rate?at=${at}`));
  } catch (error) { fail(error); }
}

function fail(error) {
  busy = false;
  ahead = "";
  if (error instanceof Refused && error.status === 401) {
    $("app").hidden = true;
    gate("gate", "The token of this link is not, or no longer, the one that stedfast printed.");
  } else problem(error instanceof Refused ? `Not done: ${error.message}.` : "No answer from stedfast rate: is it still running? Saved answers are safe.");
}

async function show(found) {
  state = found;
  problem("");
  const { position, total, done, study } = found;
  const over = position >= total;
  $("app").hidden = false;
  text("where", over ? `${done} of ${total}` : `${position + 1} of ${total}`);
  text("tester", `${found.tester}, ${done} answered`);
  $("bar").style.width = `${(100 * done) / Math.max(total, 1)}%`;
  document.title = `${done}/${total} – stedfast rate`;
  $("over").hidden = !over;
  $("screen").hidden = over;
  $("rate").hidden = over || study;
  $("study").hidden = over || !study;
  const known = over || (found.pixel_size_nm !== null && found.pixel_size_nm !== undefined);
  $("unknown").hidden = known;
  $("again").hidden = over || found.given === null;
  for (const id of ["undo", "study-undo", "over-undo"]) $(id).disabled = !found.undo;
  $("scale").hidden = true;
  if (over) {
    text("over-words", `${found.tester} answered ${done} of ${total}.`);
    text("own", found.tables[0]);
    text("all", found.tables[1]);
    text("over-next", study ? "stedfast study prints the tables." : "stedfast train quality CONFIG --data reads it.");
    busy = false;
    return;
  }
  for (const id of ["back", "study-back"]) $(id).disabled = position === 0;
  if (study) {
    text("first-score", found.scores[0].toFixed(2));
    text("second-score", found.scores[1].toFixed(2));
    for (const [id, answer] of [["first", "first"], ["second", "second"], ["equal", "equivalent"], ["drop", "discard"]]) $(id).classList.toggle("picked", found.given === answer);
  } else {
    set(typeof found.given === "number" ? found.given : null);
    $("discard").classList.toggle("picked", found.given === "discard");
  }
  $("loading").hidden = false;
  text("loading", "Loading the image");
  try {
    const { blob, shape } = await picture(`/api/image/${position}`);
    drawn?.image.close();
    drawn = { image: await createImageBitmap(blob), shape };
    paint();
    $("loading").hidden = true;
    busy = false;
    // What was typed while the image came is of this image; it is saved only when Enter says so.
    if (ahead) write(ahead);
    ahead = "";
  } catch (error) {
    text("loading", "This image cannot be shown.");
    busy = false;
    if (!(error instanceof Refused)) fail(error);
  }
}

function paint() {
  if (!drawn || $("screen").hidden) return;
  const { image, shape } = drawn;
  const [width, height] = [$("screen").clientWidth - 16, $("screen").clientHeight - 16];
  const scale = Math.min(width / image.width, height / image.height);
  const canvas = $("image");
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.style.width = `${image.width * scale}px`;
  canvas.style.height = `${image.height * scale}px`;
  canvas.getContext("2d", { alpha: false }).drawImage(image, 0, 0);
  canvas.dataset.position = state.position;
  const size = state.pixel_size_nm;
  $("scale").hidden = !size;
  if (!size) return;
  const umPerPx = (shape[1] * size * 1e-3) / (image.width * scale);
  const most = umPerPx * image.width * scale * 0.25;
  const power = 10 ** Math.floor(Math.log10(most));
  const um = Math.max(...[1, 2, 5].map((step) => step * power).filter((one) => one <= most));
  $("length-bar").style.width = `${um / umPerPx}px`;
  text("length", um >= 1 ? `${number(um)} µm` : `${number(um * 1000)} nm`);
}

// What a person's text says: a number in [0, 1]; or why it says none.
function meaning(words) {
  const found = /^ *([0-9]*)[.,]?([0-9]*) *(%?) *$/.exec(words);
  if (!found) return { value: null, why: "no number" };
  const [, whole, part, percent] = found;
  if (!whole && !part) return { value: null, why: "" };
  const score = Number(`${whole || 0}.${part || 0}`) / (percent ? 100 : 1);
  if (score > 1) return { value: null, why: score <= 100 && !percent ? "more than 1; for percent, add %" : "more than 1" };
  return { value: Math.round(score * 1e4) / 1e4, why: "" };
}

// At least two decimals, and all that are saved.
const shown = (score) => score.toFixed(Math.max(2, (String(score).split(".")[1] || "").length));

function put(score, words, why) {
  value = score;
  typed = words;
  text("score", value === null ? "–" : shown(value));
  $("score").classList.toggle("unset", value === null);
  text("typed", words && (why ? `${words}: ${why}` : `typed: ${words}`));
  $("typed").classList.toggle("wrong", Boolean(why));
  $("enter").disabled = value === null;
  if (value !== null) $("slider").value = Math.round(value * 100);
}

function set(score) {
  put(score === null ? null : Math.min(Math.max(score, 0), 1), "", "");
}

function write(words) {
  const { value: score, why } = meaning(words);
  put(score, words, why);
}

const type = (key) => { if (typed.length < LONGEST) write(typed + key); };

function erase() {
  if (typed) write(typed.slice(0, -1));
  else back();
}

const change = (by) => set(Math.round(100 * ((value ?? 0.5) + (value === null ? 0 : by))) / 100);
const back = () => { if (!busy && state.position > 0) load(state.position - 1); };

async function answer(said) {
  if (busy) return;
  busy = true;
  try {
    show(await send("/api/answer", { position: state.position, answer: said }));
  } catch (error) { fail(error); }
}

const save = () => { if (value !== null) answer(value); };

async function undo() {
  if (busy || !state.undo) return;
  busy = true;
  try {
    show(await send("/api/undo", {}));
  } catch (error) { fail(error); }
}

// Characters of the next score may come before its image does: none may be lost.
function typeAhead(key) {
  if (key === "Backspace") ahead = ahead.slice(0, -1);
  else if (NUMBER.test(key) && ahead.length < LONGEST) ahead += key;
}

function pressed(event) {
  const undoing = event.key.toLowerCase() === "z";
  if (event.altKey || ((event.ctrlKey || event.metaKey) && !undoing)) return;
  if (document.querySelector("dialog[open]") || !state || $("app").hidden) return;
  const over = state.position >= state.total;
  const rating = !state.study && !over;
  if (busy && rating) typeAhead(event.key);
  const keys = over ? { Backspace: back } : state.study
    ? { 1: () => answer("first"), 2: () => answer("second"), 3: () => answer("equivalent"), ArrowLeft: () => answer("first"), ArrowRight: () => answer("second"), ArrowDown: () => answer("equivalent"), "=": () => answer("equivalent"), e: () => answer("equivalent"), x: () => answer("discard"), Backspace: back }
    : { Enter: save, Backspace: erase, x: () => answer("discard"), ArrowUp: () => change(0.05), ArrowDown: () => change(-0.05), ArrowRight: () => change(0.01), ArrowLeft: () => change(-0.01) };
  if (event.repeat && (state.study || undoing || event.key === "Enter" || event.key === "x")) return;
  const act = event.key === "?" ? help : undoing ? undo : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key] || (rating && NUMBER.test(event.key) && (typed || event.key !== " ") ? () => type(event.key) : null);
  if (!act) return;
  // A button that has the focus must not answer a second time.
  event.preventDefault();
  if (!busy) act();
}

function help() {
  $("keys-list").replaceChildren(...KEYS[state?.study ? "study" : "rate"].map(([keys, words]) => make("div", {}, make("dt", {}, make("kbd", {}, keys)), make("dd", {}, words))));
  $("keys").showModal();
}

addEventListener("keydown", pressed);
addEventListener("resize", paint);
$("slider").addEventListener("input", () => set($("slider").value / 100));
$("enter").onclick = save;
$("discard").onclick = () => answer("discard");
$("drop").onclick = () => answer("discard");
$("first").onclick = () => answer("first");
$("second").onclick = () => answer("second");
$("equal").onclick = () => answer("equivalent");
for (const id of ["back", "study-back"]) $(id).onclick = back;
for (const id of ["undo", "study-undo", "over-undo"]) $(id).onclick = undo;
$("over-back").onclick = back;
$("help").onclick = help;
$("keys-close").onclick = () => $("keys").close();
if (hasToken()) load(-1);
else gate("gate", "Open the whole link, with the part after the #, or paste it here.");
