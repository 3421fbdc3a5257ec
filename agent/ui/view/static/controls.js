// Telling the run something, and what became of it.
import { $, Refused, joules, make, newId, number, read, send, text } from "/base.js";

const pending = new Map();
let hide = 0;

export function toast(words, tone = "") {
  const box = $("toast");
  box.dataset.tone = tone;
  text(box, words);
  box.hidden = false;
  clearTimeout(hide);
  hide = setTimeout(() => { box.hidden = true; }, tone === "bad" ? 12000 : 6000);
}

export function ask(head, words, yes, tone) {
  const box = $("ask");
  text("ask-head", head);
  text("ask-words", words);
  text("ask-yes", yes);
  $("ask-yes").className = tone;
  return new Promise((done) => {
    const answer = (said) => { box.close(); done(said); };
    $("ask-yes").onclick = () => answer(true);
    $("ask-no").onclick = () => answer(false);
    box.oncancel = () => done(false);
    box.showModal();
    $("ask-no").focus();
  });
}

export async function tell(what, words) {
  const id = newId();
  pending.set(id, words);
  try {
    const { said } = await send("/api/command", { id, name: $("name").value.trim(), tell: what });
    toast(`${words}: ${said.split(": ").pop()}`);
    return true;
  } catch (error) {
    pending.delete(id);
    toast(error instanceof Refused ? `${words}: refused. ${error.message}` : `${words}: could not be sent. The run continues unchanged.`, "bad");
    return false;
  }
}

// Say whether a command was applied, as soon as the ledger does.
export function follow(log) {
  for (const line of log) {
    if (!line.id || !pending.has(line.id)) continue;
    const words = pending.get(line.id);
    pending.delete(line.id);
    if (line.refused) toast(`${words}: the run refused. ${line.refused}`, "bad");
    else toast(`${words}: applied, and in the ledger`, "good");
  }
}

function accepted(one) {
  const unit = one.unit ? ` ${one.unit}` : "";
  return one.kind === "choice" ? one.edges.join(", ") : `${number(one.edges[0])} … ${number(one.edges[1])}${unit}`;
}

function now(one, live) {
  const unit = one.unit ? ` ${one.unit}` : "";
  if (one.told === null || one.told === undefined) return live ? `at its start, ${number(one.start)}${unit}` : `searched, ${accepted(one)}`;
  if (Array.isArray(one.told)) return `narrowed to ${one.told.map((v) => number(v)).join(one.kind === "choice" ? ", " : " … ")}${unit}`;
  return `fixed at ${number(one.told)}${unit}`;
}

function row(one, live) {
  const label = (words) => `${one.words}, ${words}`;
  const set = make("div", { class: "set" });
  const value = () => {
    if (one.kind === "choice") {
      const found = first.value;
      return one.edges.find((edge) => String(edge) === found);
    }
    const low = Number(first.value);
    return second && second.value !== "" ? [low, Number(second.value)] : low;
  };
  let first;
  let second = null;
  if (one.kind === "choice") {
    first = make("select", { class: "small", "aria-label": label("value") }, ...one.edges.map((edge) => make("option", { value: String(edge) }, String(edge))));
    set.append(first);
  } else {
    const field = (words) => make("input", { class: "small", type: "number", step: "any", placeholder: words, "aria-label": label(words) });
    first = field("value");
    set.append(first);
    if (!live) {
      second = field("to");
      set.append(make("span", { class: "quiet" }, "…"), second);
    }
  }
  const act = make("button", { class: "small", onclick: async () => {
    if (first.value === "") { first.focus(); return; }
    if (await tell({ [one.name]: value() }, `${one.words} ${act.textContent.toLowerCase()}`)) {
      first.value = first.tagName === "SELECT" ? first.value : "";
      if (second) second.value = "";
      act.textContent = "Fix";
    }
  } }, "Fix");
  const free = make("button", { class: "small", onclick: () => tell({ [one.name]: "free" }, `${one.words} ${live ? "reset" : "free"}`) }, live ? "Reset" : "Free");
  second?.addEventListener("input", () => { act.textContent = second.value === "" ? "Fix" : "Narrow"; });
  for (const input of [first, second]) input?.addEventListener("keydown", (event) => { if (event.key === "Enter") act.click(); });
  const state = make("span", { class: `now quiet${one.told === null || one.told === undefined ? "" : " told"}` }, now(one, live));
  return make("div", { class: "setting", "data-setting": one.name }, make("div", {}, make("b", {}, one.words), make("span", { class: "quiet" }, accepted(one))), state, make("div", { class: "set" }, ...set.childNodes, act, free));
}

let drawn = "";

// `places` draws what may be told of places and of parts of the frame.
export async function drawSettings(plan, places) {
  const told = await read("/api/settings");
  const live = plan === "live";
  const key = JSON.stringify(told);
  if (key === drawn) return true;
  // Typing is not interrupted; it is drawn later.
  const held = document.activeElement;
  const inside = held?.closest?.("#settings .setting");
  if (inside && held.tagName === "INPUT" && held.value !== "") return false;
  drawn = key;
  const parts = (box) => [...(box?.querySelectorAll("input, select, button") || [])];
  const place = inside ? [inside.dataset.setting, parts(inside).indexOf(held)] : null;
  $("settings").replaceChildren(...told.settings.map((one) => row(one, live)));
  if (place) parts($("settings").querySelector(`[data-setting="${CSS.escape(place[0])}"]`))[place[1]]?.focus();
  text("steer-words", told.why_not || (live
    ? "A value holds from the next frame on. The microscope refuses values outside its range."
    : "Applied before the next trial. One value fixes a setting, two narrow it. The microscope refuses values outside its range."));
  places(told);
  drawFilter(told.filter);
  return true;
}

function drawFilter(filter) {
  $("filter-box").hidden = false;
  if (!filter) {
    $("filter").replaceChildren();
    text("filter-words", "This run has no filter, and none can be added while it runs: begin one with --set filter.model=actin.");
    return;
  }
  const words = { none: "Off", newest: "Newest frames", all: "All frames" };
  $("filter").replaceChildren(...filter.accepted.map((one) => make("button", {
    class: "small", "aria-pressed": String(one === filter.frames),
    onclick: () => tell({ filter: one }, `filter ${words[one].toLowerCase()}`),
  }, words[one] || one)));
  text("filter-words", `Model ${filter.model}. The model stays the same for a whole run, so that every filtered frame has one origin. Another one needs a new run, or stedfast filter afterwards.`);
}

export function drawSpent(state) {
  const rows = [];
  const meter = (name, words, share) => {
    const fill = make("div", { class: "fill" });
    fill.style.width = `${Math.min(100, 100 * (share ?? 0))}%`;
    const tone = share > 1 ? " over" : share > 0.8 ? " near" : "";
    return make("div", { class: `meter${tone}` }, make("div", { class: "line-up" }, make("b", {}, name), make("span", { class: "num" }, words)),
      share === null ? null : make("div", { class: "track" }, fill));
  };
  if (state.bleaching) {
    const { last, sd, limit } = state.bleaching;
    const about = sd ? ` ± ${number(100 * sd, 1)}` : "";
    rows.push(meter("Bleaching", last === null ? `limit ${number(100 * limit)} %` : `${number(100 * last)}${about} % of ${number(100 * limit)} %`, last === null ? 0 : Math.max(0, last) / limit));
  }
  for (const { laser, spent_J: spent, budget_J: budget } of state.light || []) {
    const share = budget ? spent / budget : null;
    rows.push(meter(`Light, ${laser}`, budget ? `${joules(spent)} of ${joules(budget)}` : `${joules(spent)}, no budget`, share));
  }
  if (state.lit) rows.push(meter("Light was on", `${number(state.lit.measured_s)} s measured, ${number(state.lit.expected_s)} s expected`, null));
  if (!rows.length) rows.push(make("p", { class: "quiet" }, "No laser is bound in this run's config: its light is not counted."));
  $("spent").replaceChildren(...rows);
}
