// Pictures of frames: the newest that this browser can keep up with, zoom, contrast, scale bar.
import { make, number, picture, text } from "/base.js";
import { together } from "/together.js";

const STOPS = ["000004", "210c4a", "57106e", "8a226a", "bc3754", "e45a31", "f98e09", "f9cb35", "fcffa4"]
  .map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
// Colours as whole pixels, in the byte order of this machine: one look-up a pixel instead of three.
const TABLE = new Uint32Array(new Uint8Array(Array.from({ length: 256 }, (_, grey) => {
  const place = (grey / 255) * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  return [...STOPS[low].map((from, channel) => Math.round(from + (place - low) * (STOPS[low + 1][channel] - from))), 255];
}).flat()).buffer);
const SIDES = [256, 512, 768, 1024, 2048];
const LEAST_MS = 200;

// What all panes share: they show the same part of the sample.
export const look = { zoom: 1, x: 0, y: 0, colour: localStorage.getItem("colour") !== "grey", pixelUm: 0, project: "" };

export class Pane {
  constructor(box, kind, title) {
    this.box = box;
    this.kind = kind;
    this.title = title;
    this.wanted = this.shown = null;
    this.busy = false;
    this.took = 0;
    this.fixed = null;
    // A person points at something: what moves is not the picture.
    this.pointed = false;
    this.placed = () => {};
    this.limits = [0, 1];
    this.image = null;
    this.head = make("b", {}, title);
    this.words = make("span", { class: "quiet num" });
    this.canvas = make("canvas", { role: "img" });
    this.wait = make("div", { class: "wait" }, make("i"), make("span", {}, "Waiting for the first frame"));
    this.veil = make("div", { class: "veil", hidden: true });
    this.bar = make("i");
    this.length = make("span", { class: "num" });
    this.scale = make("div", { class: "scale", hidden: true }, this.length, this.bar);
    this.origin = kind === "reconstructed" ? make("div", { class: "origin", hidden: true }, "rebuilt, not measured") : null;
    this.screen = make("div", { class: "screen" }, this.canvas, this.wait, this.veil, this.scale, ...(this.origin ? [this.origin] : []));
    this.low = make("input", { class: "small", type: "number", step: "any", "aria-label": `${title}: black at (counts)` });
    this.high = make("input", { class: "small", type: "number", step: "any", "aria-label": `${title}: white at (counts)` });
    this.auto = make("button", { class: "small", "aria-pressed": "true", title: "A" }, "Auto");
    for (const input of [this.low, this.high]) input.addEventListener("change", () => this.fix(Number(this.low.value), Number(this.high.value)));
    this.auto.addEventListener("click", () => this.toggleAuto());
    box.replaceChildren(
      make("header", {}, this.head, this.words),
      this.screen,
      make("div", { class: "limits" }, this.low, make("span", {}, "to"), this.high, make("span", {}, "counts"), this.auto),
    );
    this.drags();
    new ResizeObserver(() => this.place()).observe(this.screen);
  }

  // The newest wish counts; earlier ones made while a picture was on its way are never fetched.
  want(index, again = false) {
    if (index === null || index === undefined) return;
    if (index === this.wanted && !again) return;
    this.wanted = index;
    if (again) this.shown = null;
    if (!this.busy) this.fetch();
  }

  async fetch() {
    this.busy = true;
    while (this.wanted !== null && this.wanted !== this.shown && !document.hidden) {
      const [index, kind, began] = [this.wanted, this.kind, performance.now()];
      this.shown = index;
      try {
        const { got, image, decoding } = await together(this.load(this.address(kind, index)));
        const drawing = performance.now();
        this.image?.close();
        this.image = image;
        this.number = index;
        this.shape = got.shape;
        this.pixelUm = got.pixelUm;
        this.mode = got.mode;
        this.places = got.places;
        if (!this.fixed) this.limits = got.limits;
        this.draw();
        this.took = decoding + performance.now() - drawing;
        this.wait.hidden = true;
        if (this.origin) this.origin.hidden = false;
        document.dispatchEvent(new CustomEvent("drawn", { detail: { kind, index, at: Date.now() } }));
      } catch (error) {
        if (error.status === 404) this.missing(index);
        else if (error.name !== "TimeoutError") await new Promise((done) => setTimeout(done, 800));
      }
      // A browser that takes long to draw gets fewer frames, so that it stays usable.
      const took = performance.now() - began;
      await new Promise((done) => setTimeout(done, Math.max(LEAST_MS - took, took * 0.5, 0)));
    }
    this.busy = false;
  }

  async load(address) {
    const got = await picture(address, AbortSignal.timeout(20000));
    const arrived = performance.now();
    const image = await createImageBitmap(got.blob);
    return { got, image, decoding: performance.now() - arrived };
  }

  missing(index) {
    if (this.image) return;
    text(this.wait.lastChild, this.origin ? "It is not on disk." : `Frame ${index} is not on disk.`);
  }

  address(kind, index) {
    const across = this.screen.clientWidth * Math.min(devicePixelRatio || 1, 2) * look.zoom;
    const side = SIDES.find((one) => one >= across * 0.9) || SIDES[SIDES.length - 1];
    const limits = this.fixed ? `&low=${this.fixed[0]}&high=${this.fixed[1]}` : "";
    const project = look.project && ["raw", "filtered"].includes(kind) ? `&project=${look.project}` : "";
    return `/api/frame/${kind}/${index}?side=${side}${limits}${project}${look.zoom > 1 ? "&exact=1" : ""}`;
  }

  draw() {
    const { canvas, image } = this;
    if (!image) return;
    if (canvas.width !== image.width || canvas.height !== image.height) {
      canvas.width = image.width;
      canvas.height = image.height;
    }
    const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    context.drawImage(image, 0, 0);
    if (look.colour) {
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
      const [grey, whole] = [pixels.data, new Uint32Array(pixels.data.buffer)];
      for (let at = 0; at < whole.length; at += 1) whole[at] = TABLE[grey[at * 4]];
      context.putImageData(pixels, 0, 0);
    }
    canvas.dataset.frame = this.number;
    // A rebuilt frame has no number of its own: the words say which it is.
    const words = this.origin ? this.mode : `frame ${this.number}${this.mode ? `, ${this.mode}` : ""}`;
    canvas.setAttribute("aria-label", `${this.title}, ${words}`);
    this.screen.style.aspectRatio = `${this.shape[1]} / ${this.shape[0]}`;
    text(this.words, words);
    this.words.title = words;
    this.showLimits();
    this.place();
  }

  showLimits() {
    for (const [input, value] of [[this.low, this.limits[0]], [this.high, this.limits[1]]]) {
      if (document.activeElement !== input) input.value = Number(value.toPrecision(4));
    }
  }

  place() {
    if (!this.image) return;
    const { clientWidth: width, clientHeight: height } = this.screen;
    look.x = Math.min(Math.max(look.x, 0), 1 - 1 / look.zoom);
    look.y = Math.min(Math.max(look.y, 0), 1 - 1 / look.zoom);
    this.canvas.style.transform = `scale(${look.zoom}) translate(${-look.x * width}px, ${-look.y * height}px)`;
    this.screen.classList.toggle("sharp", look.zoom >= 2);
    this.screen.classList.toggle("zoomed", look.zoom > 1);
    this.placed();
    const pixelUm = this.pixelUm || look.pixelUm;
    if (!pixelUm || !width) return;
    const umPerPx = (this.shape[1] * pixelUm) / (width * look.zoom);
    const most = umPerPx * width * 0.28;
    const power = 10 ** Math.floor(Math.log10(most));
    const um = Math.max(...[1, 2, 5].map((step) => step * power).filter((one) => one <= most));
    this.bar.style.width = `${um / umPerPx}px`;
    text(this.length, um >= 1 ? `${number(um)} µm` : `${number(um * 1000)} nm`);
    this.scale.hidden = false;
  }

  // Which point of the frame is there on the page, as shares of it; and where on the screen a point is.
  share(x, y) {
    const box = this.screen.getBoundingClientRect();
    const inside = (share) => Math.min(Math.max(share, 0), 1);
    return [inside((x - box.left) / (box.width * look.zoom) + look.x), inside((y - box.top) / (box.height * look.zoom) + look.y)];
  }

  pixel(across, down) {
    const { clientWidth: width, clientHeight: height } = this.screen;
    return [(across - look.x) * look.zoom * width, (down - look.y) * look.zoom * height];
  }

  fix(low, high) {
    if (!(low < high)) { this.showLimits(); return; }
    this.fixed = this.limits = [low, high];
    this.auto.setAttribute("aria-pressed", "false");
    this.want(this.wanted, true);
  }

  toggleAuto() {
    this.fixed = this.fixed ? null : [...this.limits];
    this.auto.setAttribute("aria-pressed", String(!this.fixed));
    this.want(this.wanted, true);
  }

  drags() {
    let from = null;
    this.screen.addEventListener("pointerdown", (event) => {
      if (look.zoom <= 1 || this.pointed) return;
      from = [event.clientX, event.clientY, look.x, look.y];
      this.screen.setPointerCapture(event.pointerId);
      this.screen.classList.add("moving");
    });
    this.screen.addEventListener("pointermove", (event) => {
      if (!from) return;
      look.x = from[2] - (event.clientX - from[0]) / (this.screen.clientWidth * look.zoom);
      look.y = from[3] - (event.clientY - from[1]) / (this.screen.clientHeight * look.zoom);
      this.screen.dispatchEvent(new CustomEvent("moved", { bubbles: true }));
    });
    for (const over of ["pointerup", "pointercancel"]) {
      this.screen.addEventListener(over, () => { from = null; this.screen.classList.remove("moving"); });
    }
    this.screen.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && look.zoom <= 1) return;
      event.preventDefault();
      const box = this.screen.getBoundingClientRect();
      zoomTo(look.zoom * (event.deltaY < 0 ? 1.25 : 0.8), (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
      this.screen.dispatchEvent(new CustomEvent("moved", { bubbles: true }));
    }, { passive: false });
  }
}

// `x` and `y` say which point of the screen stays where it is, as shares of it.
export function zoomTo(zoom, x = 0.5, y = 0.5) {
  const before = look.zoom;
  look.zoom = Math.min(Math.max(zoom, 1), 16);
  look.x += x / before - x / look.zoom;
  look.y += y / before - y / look.zoom;
}
