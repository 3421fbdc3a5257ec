// The trials of a search, what it came to, and the trial that a person accepts.
import { $, make, number, read, text } from "/base.js";
import { ask, tell } from "/controls.js";

const TONES = { higher: "good", none_keeps: "bad", unusable: "bad" };

export async function accept(trial) {
  const yes = await ask(`Accept trial ${trial}?`, `The search ends after the trial under way. The settings of trial ${trial} are taken as they are, and measured again against the start on fresh fields.`, `Accept trial ${trial}`, "go");
  if (yes) tell({ accept: trial }, `Trial ${trial} accepted`);
}

export async function drawTrials(may) {
  const told = await read("/api/trials");
  drawResult(told);
  $("trials-card").hidden = false;
  const own = told.objective;
  const head = ["trial", "score", ...(own ? [own.title + (own.unit ? ` (${own.unit})` : "")] : []), "bleaching", ...told.settings.map((one) => one.words + (one.unit ? ` (${one.unit})` : "")), ""];
  $("trials").tHead.replaceChildren(make("tr", {}, ...head.map((words) => make("th", { scope: "col" }, words))));
  // Once start and best are compared, the luckiest trial is no longer what counts.
  const star = told.result ? told.result.accepted : told.best;
  const rows = [...told.trials].reverse().map((trial) => {
    const got = trial.objectives;
    const flags = (got?.flags || []).join(", ").replaceAll("_", " ");
    const verdict = { within: flags, over: "◆ over the limit", flagged: `+ flagged: ${flags}`, failed: "✕ failed" }[trial.verdict];
    const mine = trial.suggested_by ? ` suggested by ${trial.suggested_by === "told" ? "a person" : "the config"}` : "";
    const taken = told.result?.accepted === trial.number ? " accepted" : "";
    const button = may ? make("button", { class: "small", "aria-label": `Accept trial ${trial.number}`, onclick: () => accept(trial.number) }, "Accept") : null;
    return make("tr", { class: `${trial.verdict}${trial.number === star ? " best" : ""}` },
      make("td", {}, `${trial.number}${trial.number === star ? " ★" : ""}`),
      make("td", {}, got ? `${got.score.toFixed(3)} ± ${(got.score_sd ?? 0).toFixed(3)}` : "–"),
      ...(own ? [make("td", {}, got ? number(got.measured?.[own.name]) : "–")] : []),
      make("td", {}, got ? `${number(100 * got.bleaching)} %` : "–"),
      ...told.settings.map((one) => make("td", {}, number(trial.settings[one.name]))),
      make("td", { class: "v" }, (verdict + mine + taken).trim(), button));
  });
  $("trials").tBodies[0].replaceChildren(...(rows.length ? rows : [make("tr", {}, make("td", { class: "quiet" }, "No trial is done yet."))]));
}

// Start against best, as the retests measured them: the words and numbers are those of the report.
function drawResult({ result, settings, objective, mode }) {
  $("result").hidden = !result;
  if (!result) return;
  $("result").dataset.tone = TONES[result.verdict] || "hold";
  text("result-head", result.head);
  text("result-words", [...result.words, ...(objective ? [objective.words] : [])].join(" "));
  const { sides } = result;
  const marked = (which) => (which === result.recommended ? "chosen" : "");
  const row = (words, cell) => make("tr", {}, make("td", {}, words), ...sides.map((which) => make("td", { class: marked(which) }, cell(result[which]))));
  $("compared").tHead.replaceChildren(make("tr", {}, make("th", { scope: "col" }, ""), ...sides.map((which) => make("th", { scope: "col", class: marked(which) }, which === "start" ? "start" : "settings found"))));
  $("compared").tBodies[0].replaceChildren(
    row("score", (side) => side.score),
    ...(objective ? [row(objective.title, (side) => side.measured[objective.name] ?? "–")] : []),
    row(`bleached by one ${mode} frame`, (side) => side.bleaching),
    ...settings.map((one) => row(one.words, (side) => (side.settings ? `${number(side.settings[one.name])} ${one.unit}`.trim() : "–"))),
  );
}
