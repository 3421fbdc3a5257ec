// What a person points at in the raw frame: a place to add to the run, or the part to take from now on.
import { $, Refused, make, number, read, text } from "/base.js";
import { tell, toast } from "/controls.js";

// A hand that trembles by less clicks.
const STILL_PX = 5;

// `hold` keeps the frame that is shown while a person points at it, `go` lets newer ones come again.
export class Pointing {
  constructor(pane, { hold, go }) {
    this.pane = pane;
    this.hold = hold;
    this.go = go;
    this.tool = null;
    this.told = [];
    this.layer = make("div", { class: "marks" });
    this.box = make("div", { class: "box", hidden: true });
    pane.screen.append(this.layer, make("div", { class: "marks" }, this.box));
    pane.placed = () => this.draw();
    this.tools = { place: $("point-place"), region: $("point-region") };
    $("whole").addEventListener("click", () => this.crop(pane.number));
    for (const [name, button] of Object.entries(this.tools)) button.addEventListener("click", () => this.take(this.tool === name ? null : name));
    pane.screen.addEventListener("pointerdown", (event) => this.press(event));
    pane.screen.addEventListener("pointermove", (event) => this.drag(event));
    pane.screen.addEventListener("pointerup", (event) => this.release(event));
    pane.screen.addEventListener("pointercancel", () => { this.from = null; this.box.hidden = true; });
  }

  // What can be told to this run now.
  allow({ place, roi }) {
    this.tools.place.hidden = !place.length;
    this.tools.region.hidden = $("whole").hidden = !roi;
    if (this.tool && this.tools[this.tool].hidden) this.take(null);
  }

  take(name) {
    if (name === this.tool) return;
    if (name && !this.pane.image) { toast("No frame is shown yet."); return; }
    if (name && !this.tool) this.hold();
    if (!name && this.tool) this.go();
    this.tool = name;
    this.from = null;
    this.pane.pointed = name !== null;
    this.pane.screen.classList.toggle("pointing", name !== null);
    for (const [other, button] of Object.entries(this.tools)) button.setAttribute("aria-pressed", String(other === name));
  }

  press(event) {
    if (!this.tool || event.button) return;
    event.preventDefault();
    this.from = { x: event.clientX, y: event.clientY, frame: this.pane.number };
    this.pane.screen.setPointerCapture(event.pointerId);
  }

  // The rectangle that is drawn, in the frame as shares of it.
  drag(event) {
    if (this.tool !== "region" || !this.from) return;
    const [first, last] = [this.pane.share(this.from.x, this.from.y), this.pane.share(event.clientX, event.clientY)];
    const [[left, top], [right, bottom]] = [Math.min, Math.max].map((end) => this.pane.pixel(end(first[0], last[0]), end(first[1], last[1])));
    Object.assign(this.box.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
    this.box.hidden = false;
  }

  async release(event) {
    const from = this.from;
    this.from = null;
    if (!this.tool || !from) return;
    const moved = Math.hypot(event.clientX - from.x, event.clientY - from.y) > STILL_PX;
    const [across, down] = this.pane.share(from.x, from.y);
    if (this.tool === "region") {
      const [right, bottom] = this.pane.share(event.clientX, event.clientY);
      if (moved && (await this.crop(from.frame, { left: across, top: down, right, bottom }))) this.take(null);
      this.box.hidden = true;
      return;
    }
    if (moved) return;
    const found = await this.ask(`/api/place/${from.frame}?across=${across.toFixed(6)}&down=${down.toFixed(6)}`);
    if (!found || !(await addPlace(found.place))) return;
    this.told.push([from.frame, across, down]);
    this.draw();
    this.take(null);
  }

  // Take a part of the frame of this mode from now on; all of it without corners.
  async crop(frame, corners = {}) {
    if (frame === undefined) { toast("No frame is shown yet."); return false; }
    const words = Object.entries(corners).map(([name, share]) => `${name}=${share.toFixed(6)}`).join("&");
    const found = await this.ask(`/api/region/${frame}?${words}`);
    if (!found) return false;
    const [[mode, roi]] = Object.entries(found.roi);
    return tell({ roi: found.roi }, roi === "full" ? `the whole frame of ${mode}` : `${roi[2]} × ${roi[3]} px of ${mode} from (${roi[0]}, ${roi[1]})`);
  }

  // Where the stage was for the frame that is shown.
  async here() {
    if (!this.pane.image) { toast("No frame is shown yet."); return null; }
    return (await this.ask(`/api/place/${this.pane.number}`))?.place ?? null;
  }

  async ask(path) {
    try {
      return await read(path);
    } catch (error) {
      toast(error instanceof Refused ? `Refused. ${error.message}` : "It could not be asked where that is.", "bad");
      return null;
    }
  }

  // The run has taken in what was told: the picture comes with it.
  applied() {
    this.told = [];
    this.pane.want(this.pane.wanted, true);
  }

  // Places within the frame: a ring where each is.
  draw() {
    const known = (this.pane.places || []).map(([field, across, down]) => [String(field), across, down, ""]);
    const told = this.told.filter(([frame]) => frame === this.pane.number).map(([, across, down]) => ["", across, down, " told"]);
    const all = [...known, ...told];
    while (this.layer.children.length > all.length) this.layer.lastChild.remove();
    while (this.layer.children.length < all.length) this.layer.append(make("span", {}, make("i"), make("span", { class: "num" })));
    all.forEach(([name, across, down, tone], at) => {
      const [left, top] = this.pane.pixel(across, down);
      const mark = this.layer.children[at];
      mark.className = `mark-place${tone}`;
      mark.style.left = `${left}px`;
      mark.style.top = `${top}px`;
      text(mark.lastChild, name);
    });
  }

  // What may be told, and the form for a place that is typed.
  offer(told) {
    const box = $("place");
    const axes = told.place;
    $("place-box").hidden = !axes.length;
    this.allow(told);
    // What is typed stays where the rest is drawn again.
    if (box.children.length || !axes.length) return;
    const inputs = axes.map((axis) => make("input", { class: "small", type: "number", step: "any", placeholder: `${axis} (µm)`, "aria-label": `${axis} of a place (µm)` }));
    const add = make("button", { class: "small", onclick: async () => {
      const empty = inputs.find((input) => input.value === "");
      if (empty) { empty.focus(); return; }
      if (await addPlace(inputs.map((input) => Number(input.value)))) for (const input of inputs) input.value = "";
    } }, "Add this place");
    const here = make("button", { class: "small", onclick: async () => {
      const at = await this.here();
      if (at) inputs.forEach((input, axis) => { input.value = at[axis]; });
    } }, "Where the stage is now");
    for (const input of inputs) input.addEventListener("keydown", (event) => { if (event.key === "Enter") add.click(); });
    box.replaceChildren(here, ...inputs, add);
  }
}

const addPlace = (at) => tell({ place: at }, `place (${at.map((value) => number(value)).join(", ")}) µm`);
