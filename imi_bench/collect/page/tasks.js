// The trials as jsPsych plug-ins: one typed `info`, one `trial`, one `simulate`.
"use strict";

const LOCK_MS = 1500; // buttons stay locked for so long, as in the paper
const FRAME_MS = 350; // a black frame around the choice
const OUTCOME_MS = 1150; // then a green or red one, before "Continue"
const CONFIDENCE = ["1", "2", "3"];
const KEYS = { KeyQ: 0, KeyW: 1, KeyE: 2, KeyA: 3, KeyS: 4, KeyD: 5 };

const later = (ms) => new Promise((done) => setTimeout(done, ms));

function element(name, properties = {}, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  for (const [key, value] of Object.entries(properties)) if (key.startsWith("aria-")) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Pictures are decoded before anything is shown, so that response times start with the display.
const pictures = new Map();
function picture(address) {
  if (!pictures.has(address)) {
    const loading = fetchPicture(address);
    pictures.set(address, loading);
    loading.catch(() => pictures.delete(address));
  }
  return pictures.get(address);
}
async function fetchPicture(address) {
  for (let attempt = 0; ; attempt += 1) {
    const image = new Image();
    image.src = address;
    try { await image.decode(); return image; } catch (error) { if (attempt >= 6) throw error; await later(300 * 2 ** attempt); }
  }
}
function addressesOf(trial) { return [...trial.left, ...trial.right, ...(trial.queries || [])]; }
function prefetch(trials) { for (const trial of trials) for (const address of addressesOf(trial)) picture(address).catch(() => {}); }

class ImiTask {
  constructor(jsPsych) { this.jsPsych = jsPsych; }

  async trial(display, trial, onLoad = () => {}) {
    const asked = trial.screen;
    display.replaceChildren(element("p", { className: "waiting", textContent: TEXTS.loading }));
    const started = performance.now();
    const images = new Map();
    await Promise.all(addressesOf(asked).map(async (address) => images.set(address, await picture(address))));
    const shown = this.layOut(asked, images, trial);
    display.replaceChildren(shown.root);
    await new Promise(requestAnimationFrame);
    const onset = performance.now();
    onLoad();
    const { button, rt } = await this.choice(shown, onset, trial);
    const answer = trial.send({ block: asked.block, number: asked.number, button, rt });
    await this.outcome(shown, button, answer, trial);
    for (const address of addressesOf(asked)) pictures.delete(address);
    this.jsPsych.finishTrial({ block: asked.block, number: asked.number, button, rt, loading: onset - started, ...(await answer) });
  }

  image(images, address, alt) {
    const copy = images.get(address).cloneNode();
    copy.alt = alt;
    copy.draggable = false;
    return copy;
  }

  grid(images, addresses, title) {
    const cells = addresses.map((address, i) => this.image(images, address, `${title}, ${i + 1} of ${addresses.length}`));
    return element("section", { "aria-label": title }, [element("h2", { textContent: title }), element("div", { className: "grid" }, cells)]);
  }

  // `buttons[k]` gives answer k; `frames[k]` is the element that is framed for it
  layOut(asked, images, trial) {
    const kind = trial.kind;
    if (kind === "rating") return this.layOutRating(asked, images, trial);
    if (kind === "intruder") return this.layOutIntruder(asked, images, trial);
    const frames = asked.queries.map((address, i) =>
      element("div", { className: "query" }, [this.image(images, address, i ? TEXTS.lowerQuery : TEXTS.upperQuery)]));
    const buttons = [];
    const rows = [TEXTS.upperQuery, TEXTS.lowerQuery].map((name, row) => {
      const made = CONFIDENCE.map((label, i) => {
        const key = Object.keys(KEYS).find((code) => KEYS[code] === 3 * row + i).slice(-1);
        const button = element("button", { type: "button", textContent: label, disabled: true, title: `key ${key}`,
          "aria-label": TEXTS.answerLabel(name, i + 1) });
        buttons.push(button);
        return button;
      });
      return element("div", { className: "answers" }, [
        element("div", { className: "confidence", role: "group", "aria-label": name }, made), element("span", { textContent: TEXTS.moreConfident })]);
    });
    const outcome = element("div", { className: "outcome", role: "status" });
    const centre = element("section", { className: "centre", "aria-label": TEXTS.queries }, [frames[0], ...rows, frames[1]]);
    const foot = this.foot(trial, outcome);
    const root = element("div", { className: "task" }, [
      element("p", { className: "question", textContent: TEXTS.question }),
      this.grid(images, asked.left, TEXTS.left), centre, this.grid(images, asked.right, TEXTS.right), foot.root]);
    return { root, buttons, frames: [0, 0, 0, 1, 1, 1].map((i) => frames[i]), outcome, foot, keys: KEYS };
  }

  layOutRating(asked, images, trial) {
    const buttons = Array.from({ length: 7 }, (_, i) => element("button", { type: "button", textContent: `${i + 1}`, disabled: true, "aria-label": TEXTS.ratingLabel(i + 1) }));
    const outcome = element("div", { className: "outcome", role: "status" });
    const foot = this.foot(trial, outcome);
    const scale = element("section", { className: "centre" }, [
      element("span", { textContent: TEXTS.ratingLow }), element("div", { className: "confidence" }, buttons), element("span", { textContent: TEXTS.ratingHigh })]);
    const root = element("div", { className: "task" }, [
      element("p", { className: "question", textContent: TEXTS.ratingQuestion }),
      this.grid(images, asked.left, TEXTS.left), scale, this.grid(images, asked.right, TEXTS.right), foot.root]);
    const keys = Object.fromEntries(buttons.map((_, i) => [`Digit${i + 1}`, i]));
    return { root, buttons, frames: buttons, outcome, foot, keys };
  }

  layOutIntruder(asked, images, trial) {
    const buttons = asked.right.map((address, i) => element("button", { type: "button", className: "pick", disabled: true, "aria-label": TEXTS.intruderLabel(i + 1) },
      [this.image(images, address, TEXTS.intruderLabel(i + 1))]));
    const outcome = element("div", { className: "outcome", role: "status" });
    const foot = this.foot(trial, outcome);
    const root = element("div", { className: "task single" }, [
      element("p", { className: "question", textContent: TEXTS.intruderQuestion }), element("div", { className: "row" }, buttons), foot.root]);
    const keys = Object.fromEntries(buttons.map((_, i) => [`Digit${i + 1}`, i]));
    return { root, buttons, frames: buttons, outcome, foot, keys };
  }

  foot(trial, outcome) {
    const proceed = element("button", { type: "button", textContent: TEXTS.proceed, hidden: true });
    const score = element("span", { textContent: trial.feedback && trial.kind !== "rating" ? TEXTS.score(trial.score()) : "" });
    return { root: element("div", { className: "foot" }, [score, outcome, proceed]), proceed, score };
  }

  choice(shown, onset, trial) {
    return new Promise((done) => {
      const given = (button) => {
        document.removeEventListener("keydown", pressed);
        for (const each of shown.buttons) each.disabled = true;
        done({ button, rt: performance.now() - onset });
      };
      const pressed = (event) => {
        if (event.code in shown.keys && !event.repeat && !event.ctrlKey && !event.metaKey && !event.altKey && !shown.buttons[0].disabled) {
          event.preventDefault();
          given(shown.keys[event.code]);
        }
      };
      shown.buttons.forEach((button, i) => button.addEventListener("click", () => given(i), { once: true }));
      document.addEventListener("keydown", pressed);
      setTimeout(() => {
        for (const button of shown.buttons) button.disabled = false;
        if (trial.decide) given(trial.decide(shown.buttons.length));
      }, trial.lock ?? LOCK_MS);
    });
  }

  async outcome(shown, button, answer, trial) {
    const frame = shown.frames[button];
    frame.classList.add("chosen");
    const [told] = await Promise.all([answer, later(trial.quick ? 0 : FRAME_MS)]);
    if (trial.feedback && typeof told.correct === "boolean") {
      const kind = told.correct ? "right" : "wrong";
      frame.classList.add(kind);
      shown.outcome.classList.add(kind);
      shown.outcome.textContent = told.correct ? TEXTS.correct : TEXTS.incorrect;
      shown.foot.score.textContent = TEXTS.score(trial.score(told));
      await later(trial.quick ? 0 : OUTCOME_MS);
    }
    const proceed = shown.foot.proceed;
    proceed.hidden = false;
    proceed.focus();
    if (trial.quick) return;
    await new Promise((done) => proceed.addEventListener("click", done, { once: true }));
  }

  simulate(trial, mode, options, load) {
    const decide = (count) => (options.data && options.data.button) ?? Math.floor(Math.random() * count);
    const quick = mode === "data-only";
    this.trial(this.jsPsych.getDisplayElement(), { ...trial, decide, quick: true, lock: quick ? 0 : LOCK_MS }, load);
  }
}
ImiTask.info = {
  name: "imi-task",
  version: "1.0.0",
  parameters: {
    screen: { type: jsPsychModule.ParameterType.OBJECT }, // addresses: left, right, queries; block and number
    kind: { type: jsPsychModule.ParameterType.STRING, default: "choice" },
    feedback: { type: jsPsychModule.ParameterType.BOOL, default: true },
    send: { type: jsPsychModule.ParameterType.FUNCTION }, // answer -> promise of what the server tells
    score: { type: jsPsychModule.ParameterType.FUNCTION }, // what was told (or nothing) -> correct answers so far
  },
  data: {
    block: { type: jsPsychModule.ParameterType.STRING },
    number: { type: jsPsychModule.ParameterType.INT },
    button: { type: jsPsychModule.ParameterType.INT },
    rt: { type: jsPsychModule.ParameterType.FLOAT }, // ms from display
    loading: { type: jsPsychModule.ParameterType.FLOAT }, // ms until all images were decoded
  },
};
