// The page of a run: asks for its state, and draws what changed.
import { $, Refused, clock, gate, hasToken, make, newId, number, read, span, svg, text } from "/base.js";
import { Pane, look, zoomTo } from "/panes.js";
import { together } from "/together.js";
import { ask, drawSettings, drawSpent, follow, tell, toast } from "/controls.js";
import { Pointing } from "/pointing.js";
import { accept, drawTrials } from "/trials.js";

const SIGNS = { loading: "…", waiting: "…", starting: "●", running: "●", pausing: "‖", paused: "‖", stopping: "■", stopped: "■", interrupted: "▲", completed: "✓", failed: "✕", killed: "✕" };
const WORDS = { waiting: "waiting", killed: "ended", pausing: "pausing", stopping: "stopping" };
// Charts that only some runs have.
const OWN = { score: (found) => found.scoring !== false, bleaching: (found) => found.plan === "optimize", depth: (found) => found.plan === "optimize" && found.planes > 1, gap: (found) => Boolean(found.lapse), error: (found) => Boolean(found.lapse?.bound) };
const PART_MS = 1000;
const SOON_MS = 100;

let state = null;
let version = -1;
let news = -1;
let following = true;
let chosen = null;
let picked = null;
let frames = [];
let fields = [];
let chart = "score";
let best = null;
const PROJECTIONS = { "": "Plane", max: "Maximum", mean: "Mean" };
let heldLive = false;
let only = localStorage.getItem("only one") === "true";
let camera = null; // of those that give a frame at once, the one that a person chose
const seen = {};
const due = {};
const later = {};
const under = {};
const inView = {};

const raw = new Pane($("panes").children[0], "raw", "Raw");
const second = new Pane($("panes").children[1], "filtered", "Filtered");
const made = new Pane($("panes").children[2], "reconstructed", "Reconstructed");
const panes = [raw, second, made];
const pointing = new Pointing(raw, {
  hold: () => { heldLive = following; setFollowing(false); },
  go: () => { if (heldLive) setFollowing(true); },
});
const me = newId().slice(0, 16);

// ------------------------------------------------------------------ the state

async function watch() {
  let failures = 0;
  for (;;) {
    if (document.hidden) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    try {
      // The view gives out turns by what drawing takes: the microscope's work may need the processor.
      const took = panes.reduce((sum, pane) => sum + pane.took, 0);
      const found = await read(`/api/state?after=${version}&news=${news}&page=${me}&took=${Math.round(took)}`, AbortSignal.timeout(25000));
      failures = 0;
      // Urgent parts are shown at once; figures wait for the picture that they belong to.
      const urgent = news !== found.news;
      version = found.version;
      news = found.news;
      if (!urgent) {
        state = found;
        await together(Promise.resolve().then(() => { showNewest(found); parts(found); }));
      }
      apply(found);
    } catch (error) {
      if (error instanceof Refused && error.status === 401) { closed("The token of this link is not, or no longer, the one that stedfast printed."); return; }
      failures += 1;
      if (failures > 1) lost();
      await new Promise((done) => setTimeout(done, Math.min(1000 * failures, 5000)));
    }
  }
}

function closed(why) {
  $("app").hidden = true;
  gate("gate", why);
}

function lost() {
  version = news = -1;
  document.body.classList.add("stale");
  banner("bad", "No answer from the view.", `The page is from ${clock(new Date().toISOString())} or before. The run itself does not need this page; stedfast view RUN opens it again.`);
}

function apply(found) {
  const first = state === null;
  state = found;
  document.body.classList.remove("stale");
  look.pixelUm = found.pixel_um || 0;
  const title = `${SIGNS[found.phase] || ""} ${found.run} – stedfast`;
  if (document.title !== title) document.title = title;
  text("run", found.run);
  text("plan", found.plan || "no config yet");
  const origin = { simulated: "simulated", recorded: "recording" }[found.origin];
  $("origin").hidden = !origin;
  text("origin", origin ?? "");
  $("phase").dataset.phase = found.phase;
  text($("phase").firstChild, SIGNS[found.phase] || "●");
  text("phase-words", WORDS[found.phase] || found.phase);
  const planned = found.planned;
  const skipped = found.lapse?.skipped ? ` + ${found.lapse.skipped} skipped` : "";
  text("progress", planned ? `${found.acquired ?? 0}${skipped} of ${planned} frames` : `${found.acquired ?? 0} frames`);
  text("left", found.over ? (found.ended ? `ended ${clock(found.ended)}` : "") : planned && found.left_s !== null && found.left_s !== undefined ? `${span(found.left_s)} left` : planned === null ? "no fixed end" : "");
  const faults = found.counts?.faults || 0;
  $("faults").hidden = !faults;
  text("faults", faults === 1 ? "1 fault" : `${faults} faults`);
  $("bar").style.width = planned ? `${Math.min(100, (100 * found.done) / planned)}%` : "0";
  const may = found.role === "control";
  $("looking").hidden = may;
  $("share").hidden = !may;
  $("report").hidden = !found.plan;
  $("acts").hidden = $("steer").hidden = !control(found) || !found.plan;
  const standing = found.phase === "paused";
  text("pause", standing ? "Resume" : found.phase === "pausing" ? "Pausing…" : "Pause");
  $("pause").className = standing ? "go" : "hold";
  $("pause").disabled = found.phase === "stopping" || found.phase === "pausing";
  $("stop").disabled = found.phase === "stopping";
  tellBanner(found);
  drawFrames(found);
  drawFigures(found);
  parts(found);
  if (first) $("app").hidden = false;
}

function parts(found) {
  if (!found.plan || document.hidden) return;
  const versions = found.versions || {};
  if (isSeen("frames") || found.lapse) part("frames", versions.frames, drawStrip);
  part("log", versions.log, drawLog);
  if (isSeen("chart")) part("chart", `${chart}/${grown(found)}/${versions.trials}/${found.over}`, drawChart, 2 * PART_MS);
  if (found.plan === "optimize") part("trials", `${versions.trials}/${found.over}/${found.search.over}`, () => drawTrials(control(found) && !found.search.over));
  if (control(found)) part("settings", `${versions.settings}/${found.filter?.frames}`, () => drawSettings(found.plan, (told) => pointing.offer(told)), 300);
  else pointing.allow({ place: [], roi: false });
  part("places", versions.places, () => pointing.applied());
}

const control = (found) => found.role === "control" && !found.over;

// Changes when a chart over all frames does so visibly: with one frame more in four hundred.
function grown(found) {
  const count = found.acquired + (found.counts?.scored ?? 0) + (found.lapse?.skipped ?? 0);
  return Math.round(400 * Math.log(Math.max(count, 1)));
}

// A chart out of sight is drawn once, and again when it is scrolled to.
const isSeen = (name) => inView[name] !== false || !(name in due);

// Fetch a part of the page when it changed, but not all the time, and not at every turn.
function part(name, now, draw, least = PART_MS) {
  if (seen[name] === now || under[name]) return;
  const turn = 1000 * (state?.rest_s || 0);
  const wait = (due[name] || 0) + Math.max(least, 2 * turn) - Date.now();
  clearTimeout(later[name]);
  const go = async () => {
    if (document.hidden) return;
    seen[name] = now;
    due[name] = Date.now();
    under[name] = true;
    try { if ((await draw()) === false) seen[name] = undefined; } catch { seen[name] = undefined; }
    under[name] = false;
  };
  // With the next picture, if there is one.
  if (wait > SOON_MS) later[name] = setTimeout(go, wait + turn + SOON_MS);
  else go();
}

function banner(tone, head, words) {
  $("banner").hidden = !head;
  $("banner").dataset.tone = tone;
  text("banner-head", head || "");
  text("banner-words", words || "");
}

function safe(found) {
  const told = found.safe_state;
  if (!told) return "";
  return told.ok ? `Shutter closed, lasers safe; read back at ${clock(told.at)}.` : `THE MICROSCOPE MAY NOT BE SAFE: ${Object.entries(told.readback).filter(([, one]) => !one.ok).map(([name, one]) => `${name} reads ${one.value}`).join(", ")}.`;
}

function tellBanner(found) {
  const { phase } = found;
  const tone = found.safe_state && !found.safe_state.ok ? "bad" : null;
  if (found.damage) banner("bad", "The ledger cannot be read.", found.damage);
  else if (phase === "waiting") banner("", "Waiting for the run to begin.", "The microscope is being opened; no light is on.");
  else if (phase === "paused") banner(tone || "hold", "Paused.", `${safe(found)} Nothing is exposed until the run is resumed.`);
  else if (phase === "pausing") banner("hold", "Pausing.", "The frame under way is finished first.");
  else if (phase === "stopping") banner("hold", "Stopping.", "The frame under way is finished, then the microscope is made safe.");
  else if (phase === "completed") banner(tone || (found.search?.ok === false ? "bad" : "good"), "Completed.", `${found.acquired} frames${found.lapse?.skipped ? ` taken, ${found.lapse.skipped} skipped` : ""}. ${safe(found)}`);
  else if (phase === "stopped" || phase === "interrupted") banner(tone || "hold", phase === "stopped" ? "Stopped." : "Interrupted.", `${found.reason || ""}. ${safe(found)} stedfast resume continues it.`);
  else if (phase === "failed") banner("bad", "Failed.", `${found.reason || ""}. ${safe(found)}`);
  else if (phase === "killed") banner("bad", "The run's process was killed.", "Its lasers may still be on: look at the microscope. The next stedfast command that opens it makes it safe; stedfast resume continues the run. The page shows the last known state.");
  else if (found.silent_s > 10) banner("hold", `No sign of life for ${span(found.silent_s)}.`, "The run's process is there, but busy or stuck.");
  else banner("", "", "");
}

// ------------------------------------------------------------------ frames

const onlyOne = (found) => only && Boolean(found?.only_one); // of the mode that the plan is about
// From the frame that is decided on to that of the chosen camera, of the same shot.
const aside = (found) => (camera === null || !found?.cameras?.[camera] ? 0 : camera - found.seen_camera);
const isWanted = (one) => !onlyOne(state) || one[2] === state.mode;

function showNewest(found) {
  if (!following) return;
  const newest = found.newest || {};
  const held = found.filter && $("same").checked && newest.filtered !== undefined;
  const index = held ? newest.filtered : onlyOne(found) ? newest.decides : newest.seen ?? newest.raw;
  raw.want(Number.isInteger(index) ? index + aside(found) : undefined); // before the first frame there is none
  if (found.filter) second.want(newest.filtered);
  if (found.lapse) made.want(newest.reconstructed);
}

function drawFrames(found) {
  second.box.hidden = !found.filter;
  made.box.hidden = !found.lapse;
  const beside = Number(!second.box.hidden) + Number(!made.box.hidden);
  $("panes").classList.toggle("one", beside === 0);
  $("panes").classList.toggle("three", beside === 2);
  $("same-box").hidden = second.box.hidden;
  showNewest(found);
  const veil = found.phase === "paused" ? "Paused: this is the last frame" : following ? "" : "Not live: a frame of before";
  for (const pane of panes) {
    pane.veil.hidden = !veil || (pane === made && !pane.image);
    text(pane.veil, veil);
    if (!pane.image) {
      const filtering = pane === second && found.filter?.frames !== "none";
      const words = pane === made ? (found.over ? "No frame was rebuilt." : "No frame is rebuilt yet") : found.over ? "No frame was taken." : pane === second ? (filtering ? "Waiting for the first filtered frame" : "The filter is off") : found.doing && found.phase !== "running" ? `${found.doing[0].toUpperCase()}${found.doing.slice(1)}` : "Waiting for the first frame";
      text(pane.wait.lastChild, words);
      pane.wait.firstChild.hidden = found.over || pane === made || (pane === second && !filtering);
    }
  }
  $("project").hidden = !(found.planes > 1);
  $("only-one").hidden = !found.only_one;
  text("only-one", `${found.mode === "sted" ? "STED" : found.mode} only`);
  $("only-one").setAttribute("aria-pressed", String(only));
  $("camera").hidden = !found.cameras?.length;
  text("camera", found.cameras?.[camera ?? found.seen_camera] ?? "");
  const newest = onlyOne(found) ? found.decides : found.frame;
  if (following && newest) describe(newest);
  for (const key of ["measured", "reconstructed", "audited", "missing", "flagged", "filtered"]) text(`n-${key}`, String(found.counts?.[key] ?? 0));
  $("filtered-box").hidden = !found.filter;
  $("missing-box").hidden = !found.counts?.missing;
  $("lapse-words").hidden = !found.lapse;
  if (found.lapse) text("lapse-words", lapseWords(found.lapse));
}

function lapseWords(told) {
  const error = told.error ? `error of rebuilt frames ${number(told.error[0], 2)} ± ${number(told.error[1], 1)}` : told.bound ? "error of rebuilt frames not known yet" : "";
  const bound = told.bound ? `bound ${told.bound.toFixed(2)}` : "";
  const gap = told.gap ? `next gap ${told.gap}${told.why ? ` (${told.why})` : ""}` : "";
  const saved = told.light_saved ? `light saved ${Math.round(100 * told.light_saved)} %` : "";
  return [error, bound, gap, told.event ? `event: ${told.event}` : "", saved].filter(Boolean).join(" · ");
}

function describe(shown) {
  const off = following ? aside(state) : 0;
  const frame = off ? { ...shown, index: shown.index + off, mode: shown.mode.replace(/[^/]*$/, state.cameras[camera]), score: null, filtered: null } : shown;
  const settings = Object.entries(frame.settings || {}).map(([name, value]) => `${name.replaceAll("_", " ")} ${number(value)}`);
  const words = [`Frame ${frame.index}`, clock(frame.at), frame.mode, frame.purpose, frame.kind === "measured" ? "" : frame.kind,
    frame.score ? `score ${frame.score.value.toFixed(3)} ± ${(frame.score.sd ?? 0).toFixed(3)}` : "",
    frame.error !== null && frame.error !== undefined ? `error of what others make of it ${frame.error.toFixed(2)}` : "",
    frame.filtered ? `filter's uncertainty ${number(frame.filtered.uncertainty)}` : "", ...settings];
  text("frame-words", words.filter(Boolean).join(" · "));
}

async function choose(index) {
  const last = state?.newest?.raw;
  if (last === undefined) return;
  chosen = Math.min(Math.max(index, 0), last);
  setFollowing(false);
  raw.want(chosen);
  const shown = frames.find((one) => one[0] === chosen);
  if (!second.box.hidden && (!shown || shown[5])) second.want(chosen);
  drawMarks();
  const wanted = chosen;
  try {
    const found = await read(`/api/frame/${wanted}`);
    if (chosen === wanted) describe(found); // the person may be at another one by now
  } catch { /* it is shown without words */ }
}

// A time point of a time-lapse that skips: a frame, measured or rebuilt, beside the frame before it.
function pick(one) {
  const [index, kind, , , , , place, field, point, error] = one;
  picked = place;
  if (index !== null) { choose(index); return; }
  const before = frames.filter((other) => other[7] === field && other[8] < point && other[0] !== null).pop();
  chosen = null;
  setFollowing(false);
  if (before) raw.want(before[0]);
  if (kind === "reconstructed") made.want(place);
  const known = error === null ? "" : `expected error ${error.toFixed(2)}`;
  const words = kind === "reconstructed" ? "rebuilt" : kind === "missing" ? "skipped, and could not be rebuilt" : "skipped, not rebuilt yet";
  text("frame-words", [`Time point ${point}`, `field ${field}`, words, known, before ? `beside it frame ${before[0]}` : ""].filter(Boolean).join(" · "));
  drawMarks();
}

function setFollowing(on) {
  if (on) heldLive = false;
  following = on;
  $("live").setAttribute("aria-pressed", String(on));
  if (on) chosen = picked = null;
  if (state) drawFrames(state);
  drawMarks();
}

function step(by) {
  if (!fields.length) {
    const now = chosen ?? raw.number ?? state?.newest?.raw ?? 0;
    if (!onlyOne(state)) { choose(now + by); return; }
    const others = frames.filter(isWanted).map((one) => one[0]);
    const next = by > 0 ? others.find((one) => one > now) : others.filter((one) => one < now).pop();
    if (next !== undefined) choose(next);
    return;
  }
  const at = frames.findIndex((one) => one[6] === picked);
  const next = frames[at < 0 ? frames.length - 1 : at + by];
  if (next) pick(next);
}

async function drawStrip() {
  ({ fields, frames } = await together(read("/api/frames")));
  drawMarks();
}

function drawMarks() {
  const canvas = $("strip");
  // A row for each field of a time-lapse that skips, and a column for each time point.
  const rows = Math.max(fields.length, 1);
  canvas.style.height = `${Math.min(30 + 16 * (rows - 1), 160)}px`;
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const [measured, makes, audited, flagged, ink] = ["--within", "--model", "--best", "--alarm", "--ink"].map(colour);
  const placed = (fields.length ? frames : frames.filter(isWanted)).map((one, at) => (fields.length ? [one, one[8], fields.indexOf(one[7])] : [one, at, 0]));
  const [first, last] = placed.length ? [placed[0][1], placed[placed.length - 1][1]] : [0, 0];
  const step = Math.max(3, Math.min(14, Math.floor((width - 8) / (last - first + 1))));
  const begin = Math.max(first, last + 1 - Math.floor((width - 8) / step));
  const tall = (height - 7) / rows;
  const shown = placed.filter(([, at]) => at >= begin).map(([one, at, row]) => [one, at - begin, row]);
  canvas.shown = { shown, step, tall };
  shown.forEach(([one, at, row]) => {
    const [index, kind, mode, , bad, , place] = one;
    const top = row * tall;
    const [x, y, w] = [4 + at * step, top + (mode === "confocal" ? 12 : rows > 1 ? 4 : 6), Math.max(step - (step > 4 ? 2 : 1), 1.5)];
    const h = top + tall - y;
    if (kind === "reconstructed" || kind === "missing") {
      pen.strokeStyle = kind === "missing" ? flagged : makes;
      pen.setLineDash(kind === "missing" ? [2, 2] : []);
      pen.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
      pen.setLineDash([]);
    } else if (kind === "skipped") { pen.fillStyle = makes; pen.fillRect(x, y + h - 2, w, 2); }
    else if (kind === "audited") { pen.fillStyle = audited; pen.fillRect(x, y, w, h * 0.42); pen.fillRect(x, y + h * 0.6, w, h * 0.4); }
    else { pen.globalAlpha = mode === "confocal" ? 0.5 : 1; pen.fillStyle = measured; pen.fillRect(x, y, w, h); pen.globalAlpha = 1; }
    if (bad) { pen.fillStyle = flagged; pen.fillRect(x, top + tall + 2, w, 3); }
    if (fields.length ? picked !== null && place === picked : index === chosen) { pen.strokeStyle = ink; pen.lineWidth = 1.5; pen.strokeRect(x - 1, y - 3, w + 2, h + 6); pen.lineWidth = 1; }
  });
  canvas.setAttribute("aria-label", fields.length ? `The last ${shown.length} time points` : `The last ${shown.length} frames`);
}

// ------------------------------------------------------------------ figures

function drawFigures(found) {
  const { scored, search } = found;
  text("score", scored?.score ? scored.score.value.toFixed(2) : "–");
  text("score-sd", scored?.score?.sd ? `± ${scored.score.sd.toFixed(2)}` : "");
  const flags = scored?.score?.flags || [];
  text("score-words", scored ? `frame ${scored.index}${flags.length ? `, flagged: ${flags.join(", ").replaceAll("_", " ")}` : ""}` : found.plan && !found.over ? "not scored yet" : "no score");
  $("score-words").classList.toggle("alarm", flags.length > 0);
  $("best-box").hidden = !search;
  if (search) {
    const number = search.over ? search.recommended_score : search.best_score;
    text("best-head", search.over ? "Recommended" : "Best so far");
    text("best", number === null ? "–" : number.toFixed(2));
    const trials = `trial ${Math.min(search.done + 1, search.trials)} of ${search.trials}`;
    const found_by = { best: "settings found, measured again", start: "the starting settings" }[search.recommended] || "being measured again";
    text("best-words", search.over ? found_by : search.best ? `by trial ${search.best}; now ${trials}` : `now ${trials}`);
    $("finish-box").hidden = false;
    $("accept").disabled = search.over || search.best === null;
    $("finish").disabled = search.over || !search.done;
    text("accept", search.best === null ? "Accept the best trial" : `Accept trial ${search.best}`);
    text("finish-words", search.over ? "The search is over: the recommended settings are being retested." : search.best === null ? "No trial has given a result within the limits yet. Any other one can be accepted in the table of trials." : `Best so far: trial ${search.best}, score ${search.best_score.toFixed(3)}. Accepted, its settings are taken as they are; any other trial can be accepted in the table of trials. Or take the predicted best: settings that perhaps no trial had. Either way start and best are then measured again on fresh fields.`);
    best = search.best;
  } else $("finish-box").hidden = true;
  for (const tab of $("tabs").children) if (tab.dataset.chart in OWN) tab.hidden = !OWN[tab.dataset.chart](found);
  $("score-card").hidden = !OWN.score(found);
  // Without a scorer, the first chart that there is.
  if (chart === "score" && !OWN.score(found)) [...$("tabs").children].find((tab) => !tab.hidden && (!found.lapse || tab.dataset.chart in OWN)).click();
  $("spent").hidden = !found.plan;
  const spent = JSON.stringify([found.bleaching, found.light, found.lit]);
  if (spent !== seen.spent) part("spent", spent, () => drawSpent(state));
}

async function drawChart() {
  const { svg: drawn } = await together(read(`/api/chart/${chart}`));
  svg($("chart"), drawn);
  $("chart-words").hidden = !drawn || chart !== "error";
  $("no-chart").hidden = Boolean(drawn);
  text("no-chart", { score: "Nothing is scored yet.", bleaching: "No trial is done yet.", depth: "No stack is taken yet.", light: "No light is counted yet.", error: "Nothing is compared yet.", gap: "No gap is chosen yet." }[chart]);
}

async function drawLog() {
  const lines = await read("/api/log");
  follow(lines);
  const tags = { told: "applied", by: "told", command: "command", fault: "fault", end: "end" };
  const items = lines.map((line) => make("li", { class: line.kind }, make("time", {}, clock(line.at)), make("span", { class: "tag" }, tags[line.kind] || line.kind),
    make("span", { class: line.refused ? "refused" : "" }, `${line.words}${line.by ? `, by ${line.by}` : ""}${line.policy && line.policy !== "stop" ? ` (${line.policy})` : ""}${line.refused ? `: refused, ${line.refused}` : ""}`)));
  if (items.length) $("log").replaceChildren(...items);
}

// ------------------------------------------------------------------ hands

const pause = () => {
  if ($("acts").hidden || $("pause").disabled) return;
  if (state.phase === "paused") tell({ resume: true }, "Resume");
  else tell({ pause: true }, "Pause");
};

async function stop() {
  if ($("acts").hidden || $("stop").disabled) return;
  const yes = await ask("Stop safely?", "The frame under way is finished, then the lasers go to their safe values and the shutter closes, read back. stedfast resume continues the run.", "Stop", "end");
  if (yes) tell({ stop: true }, "Stop");
}

async function finish() {
  const yes = await ask("Take the predicted best?", "The search ends after the trial under way. The settings then predicted to be best are recommended and retested against the start; perhaps no trial had them.", "Finish", "go");
  if (yes) tell({ finish: true }, "Finish");
}

// A link cannot carry the token: the report is drawn, and gets an address of its own.
async function report() {
  const page = open("", "_blank");
  if (page) page.document.body.textContent = "Drawing the report …";
  try {
    const { path } = await read("/api/report");
    if (page) page.location = path;
    else location = path;
  } catch (error) {
    page?.close();
    toast(error instanceof Refused ? `Report: ${error.message}.` : "The report could not be drawn.", "bad");
  }
}

// How a z-stack is shown: the plane of the frame, or all planes of its time point as one.
function project() {
  if ($("project").hidden) return;
  const kinds = Object.keys(PROJECTIONS);
  look.project = kinds[(kinds.indexOf(look.project) + 1) % kinds.length];
  text("project", PROJECTIONS[look.project]);
  $("project").setAttribute("aria-pressed", String(look.project !== ""));
  raw.want(raw.wanted, true);
}

function toggleOnlyOne() {
  if ($("only-one").hidden) return;
  only = !only;
  localStorage.setItem("only one", String(only));
  drawFrames(state);
  drawMarks();
}

async function share() {
  const { link } = await read("/api/share");
  text("link-text", link);
  const here = ["127.0.0.1", "localhost", "[::1]"].includes(location.hostname);
  text("link-words", here ? "It works on this machine only. To look from another one, start the view with --host, --certificate and --key." : "It works wherever this page does.");
  $("link").showModal();
}

function zoom(factor) {
  if (factor) zoomTo(look.zoom * factor);
  else Object.assign(look, { zoom: 1, x: 0, y: 0 });
  moved(true);
}

let sharpen = 0;
function moved(fetch) {
  text("zoom", `${number(look.zoom, 2)} ×`);
  for (const pane of panes) pane.place();
  clearTimeout(sharpen);
  if (fetch !== false) sharpen = setTimeout(() => panes.forEach((pane) => pane.want(pane.wanted, true)), 250);
}

function recolour() {
  look.colour = !look.colour;
  localStorage.setItem("colour", look.colour ? "fire" : "grey");
  text("colour", look.colour ? "Grey" : "Colour");
  for (const pane of panes) pane.draw();
}

function retone() {
  const light = document.documentElement.classList.toggle("light");
  localStorage.setItem("tone", light ? "light" : "dark");
  drawMarks();
}

$("pause").onclick = pause;
$("stop").onclick = stop;
$("finish").onclick = finish;
$("accept").onclick = () => best !== null && accept(best);
$("report").onclick = $("result-report").onclick = report;
$("only-one").onclick = toggleOnlyOne;
$("camera").onclick = () => {
  const [count, now] = [state.cameras.length, camera ?? state.seen_camera];
  camera = (now + 1) % count;
  if (following) drawFrames(state);
  else if (chosen !== null) choose(chosen - now + camera);
  else text("camera", state.cameras[camera]);
};
$("project").onclick = project;
$("share").onclick = share;
$("tone").onclick = retone;
$("help").onclick = () => $("keys").showModal();
$("keys-close").onclick = () => $("keys").close();
$("link-close").onclick = () => $("link").close();
$("link-copy").onclick = () => navigator.clipboard?.writeText($("link-text").textContent).then(() => toast("Copied."), () => toast("It could not be copied: select it.", "bad"));
$("live").onclick = () => setFollowing(true);
$("back").onclick = () => step(-1);
$("on").onclick = () => step(1);
$("same").onchange = () => state && drawFrames(state);
$("in").onclick = () => zoom(1.5);
$("out").onclick = () => zoom(1 / 1.5);
$("fit").onclick = () => zoom(0);
$("colour").onclick = recolour;
$("strip").onclick = (event) => {
  const { shown, step: wide, tall } = $("strip").shown || { shown: [] };
  const at = Math.floor((event.offsetX - 4) / wide);
  const row = fields.length ? Math.min(Math.floor(event.offsetY / tall), fields.length - 1) : 0;
  const found = shown.find((one) => one[1] === at && one[2] === row);
  if (found && fields.length) pick(found[0]);
  else if (found) choose(found[0][0]);
};
document.addEventListener("moved", () => moved());
for (const tab of $("tabs").children) {
  tab.onclick = () => {
    chart = tab.dataset.chart;
    for (const other of $("tabs").children) other.setAttribute("aria-selected", String(other === tab));
    drawChart().catch(() => {});
  };
}
addEventListener("resize", drawMarks);
const observer = new IntersectionObserver((found) => {
  for (const one of found) inView[one.target === $("strip") ? "frames" : "chart"] = one.isIntersecting;
  if (state) parts(state);
});
for (const node of [$("strip"), $("tabs").parentElement]) observer.observe(node);
document.addEventListener("visibilitychange", () => { if (!document.hidden) panes.forEach((pane) => pane.want(pane.wanted, true)); });
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
  const act = { p: pause, s: stop, l: () => setFollowing(true), ArrowLeft: () => step(-1), ArrowRight: () => step(1), "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: () => zoom(0), a: () => panes.forEach((pane) => pane.image && pane.toggleAuto()), c: recolour, m: toggleOnlyOne, z: project, r: report, t: retone, "?": () => $("keys").showModal(), Escape: () => pointing.take(null) }[event.key];
  if (act) { event.preventDefault(); act(); }
});

$("name").value = localStorage.getItem("name") || "";
$("name").oninput = () => localStorage.setItem("name", $("name").value);
if (localStorage.getItem("tone") === "light") document.documentElement.classList.add("light");
text("colour", look.colour ? "Grey" : "Colour");
if (hasToken()) { $("app").hidden = false; watch(); } else closed("Open the whole link, with the part after the #, or paste it here.");
