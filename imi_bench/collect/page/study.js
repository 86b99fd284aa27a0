// One person's way through the study; every step is stored on the server before the next begins.
"use strict";

const MIN_WIDTH = 940;
const MIN_HEIGHT = 600;
const AHEAD = 4; // trials whose images are fetched before they are needed

const query = new URLSearchParams(location.search);
const root = document.getElementById("study");
let session = "";
let right = 0;
// jsPsych's own simulation mode: ?simulate=data-only or visual; such answers are marked simulated
const simulation = query.get("simulate");

function say(html) { root.innerHTML = `<div class="card">${html}</div>`; }
function safe(text) { const box = document.createElement("span"); box.textContent = text; return box.innerHTML; }

async function post(verb, body = {}) {
  if (window.IMI_TASK) return staticPost(verb, body);
  const headers = { "Content-Type": "application/json", ...(session ? { Authorization: `Bearer ${session}` } : {}) };
  const response = await fetch(`api/${verb}`, { method: "POST", headers, body: JSON.stringify(body) });
  const told = await response.json();
  if (!response.ok) throw Object.assign(new Error(told.error || response.statusText), { status: response.status });
  return told;
}

// Sends until it is acknowledged: the server keeps the first and ignores what comes twice.
async function surely(verb, body) {
  let overlay = null;
  for (let attempt = 0; ; attempt += 1) {
    try {
      const told = await post(verb, body);
      if (overlay) { overlay.remove(); post("note", { kind: "connection back", detail: `${verb} after ${attempt} attempts` }).catch(() => {}); }
      return told;
    } catch (error) {
      if (error.status && error.status < 500 && error.status !== 429) throw error;
      if (attempt >= 2 && !overlay) {
        overlay = element("div", { className: "overlay", role: "alert" }, [element("div", { className: "card", textContent: TEXTS.lost })]);
        document.body.append(overlay);
      }
      await later(Math.min(8000, 250 * 2 ** attempt));
    }
  }
}

// crypto.randomUUID exists in secure contexts alone
function randomName() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function who() {
  if (query.get("t")) return { link: query.get("t") };
  if (query.get("PROLIFIC_PID")) return { platform: Object.fromEntries(["PROLIFIC_PID", "STUDY_ID", "SESSION_ID"].map((k) => [k, query.get(k) || ""])) };
  let own = query.get("own") || localStorage.getItem("imi-own");
  if (!own) { own = randomName(); localStorage.setItem("imi-own", own); }
  return { own };
}

function ending(study) {
  const endings = {
    refused: "<h1>Thank you</h1><p>You did not agree to take part; nothing else was stored. You may close this page.</p>",
    withdrawn: "<h1>Deleted</h1><p>Your answers have been deleted, and so has who you are, but for a one-way code that keeps anybody from taking part twice. You may close this page.</p>",
    expired: "<h1>Too long away</h1><p>You were away for so long that your place was given to somebody else. Thank you all the same.</p>",
    done: "<h1>Thank you!</h1><p>All your answers are stored. You may close this page.</p>",
  };
  const code = study.code ? `<p>Your completion code: <b>${safe(study.code)}</b></p><p><a href="https://app.prolific.com/submissions/complete?cc=${encodeURIComponent(study.code)}">Return to Prolific</a></p>` : "";
  say((endings[study.state] || "") + code);
  if (study.state === "done") {
    const button = element("button", { type: "button", textContent: "Delete my answers" });
    button.addEventListener("click", async () => {
      if (confirm("Delete all your answers? This cannot be undone.")) ending(await surely("withdraw"));
    });
    root.firstChild.append(element("p", {}, [button]));
  }
  document.body.dataset.state = study.state;
}

function taskOf(study, screen, total) {
  return {
    type: ImiTask,
    screen,
    kind: study.kind,
    feedback: study.feedback || screen.block !== "main",
    send: (answer) => surely("answer", answer),
    score: (told) => { if (told && screen.block === "main" && typeof told.right === "number") right = told.right; return right; },
    ...(total ? { on_finish: () => { jsPsych.progressBar.progress = (screen.number + 1) / total; } } : {}),
  };
}

let jsPsych = null;

async function practice(study) {
  for (;;) {
    const round = await surely("practice");
    if (round.state !== "practice") return;
    prefetch(round.trials.slice(0, AHEAD));
    if (round.round > 1 && !simulation) {
      await run([{ type: jsPsychInstructions, pages: [page("Once more", "<p>Not all practice answers were right. Please try again.</p>")], show_clickable_nav: true }], study);
    }
    await run(round.trials.map((screen) => taskOf(study, screen)), study);
  }
}

// one jsPsych run a part, so that a part can depend on what the server says after the one before
async function run(timeline, study, options = {}) {
  const stage = element("div", { className: "stage" });
  root.replaceChildren(stage);
  jsPsych = initJsPsych({ display_element: stage, ...options });
  if (simulation) await jsPsych.simulate(timeline, simulation);
  else await jsPsych.run(timeline);
  return jsPsych.data.get();
}

function consent(study) {
  return new Promise((done) => {
    root.innerHTML = consentPage({ ...study, title: safe(study.title), contact: safe(study.contact) });
    const yes = element("button", { type: "button", textContent: "I agree and take part", id: "agree" });
    const no = element("button", { type: "button", textContent: "I do not agree", id: "refuse" });
    root.firstElementChild.append(element("div", { className: "choices" }, [yes, no]));
    yes.addEventListener("click", () => done(true));
    no.addEventListener("click", () => done(false));
    if (simulation) done(true);
  });
}

async function instruct(study) {
  const started = performance.now();
  await run([{ type: jsPsychInstructions, pages: instructionPages(study), show_clickable_nav: true, show_page_number: true,
    button_label_previous: "Previous", button_label_next: "Next" }], study);
  await surely("instructions", { seconds: (performance.now() - started) / 1000 });
}

async function mainTrials(study) {
  const trials = study.trials;
  const timeline = trials.map((screen, i) => ({ ...taskOf(study, screen, study.total), on_load: () => prefetch(trials.slice(i + 1, i + 1 + AHEAD)) }));
  const first = [...new Set(trials.slice(0, AHEAD).flatMap(addressesOf))];
  const preload = { type: jsPsychPreload, images: first, show_progress_bar: true, message: `<p>${TEXTS.loading}</p>`, continue_after_error: true };
  await run([preload, ...timeline], study, { show_progress_bar: true, auto_update_progress_bar: false });
}

async function comment(study) {
  const data = await run([{ type: jsPsychSurveyText, preamble: "<h1>Almost done</h1>", button_label: "Finish",
    questions: [{ prompt: "Is there anything you want to tell us? (You may leave this empty.)", rows: 5, columns: 60, name: "comment" }] }], study);
  const given = data.values().at(-1);
  return (given && given.response && given.response.comment) || "";
}

async function begin() {
  let study;
  try { study = await post("enter", { ...who(), ...(simulation ? { simulated: true } : {}) }); } catch (error) {
    say(`<h1>Sorry</h1><p>${safe(error.status ? error.message : "The server cannot be reached. Please try again in a moment.")}</p>`);
    document.body.dataset.state = "refused-entry";
    return;
  }
  session = study.session;
  right = study.right || 0;
  document.title = study.title;
  if (["done", "refused", "withdrawn", "expired"].includes(study.state)) { ending(study); return; }
  if (!simulation) {
    if (/Mobi|Android|iPhone|iPad/i.test(navigator.userAgent)) {
      say("<h1>Sorry</h1><p>This study needs a computer with a window of at least 940 by 600 pixels; a phone or tablet does not do. You can open the same link on a computer.</p>");
      document.body.dataset.state = "no-computer";
      return;
    }
    await run([{ type: jsPsychBrowserCheck, minimum_width: MIN_WIDTH, minimum_height: MIN_HEIGHT, allow_window_resize: true }], study);
  }
  if (study.state === "consent") {
    const agree = await consent(study);
    const told = await surely("consent", { agree });
    if (!agree) { ending(told); return; }
    study.state = "instructions";
  }
  document.body.dataset.state = study.state;
  if (!simulation) await run([{ type: jsPsychFullscreen, fullscreen_mode: true, message: "<div class='card'><p>The study is shown full screen.</p></div>", button_label: "Continue" }], study);
  if (study.state === "instructions") await instruct(study);
  document.body.dataset.state = "practice";
  await practice(study);
  document.body.dataset.state = "main";
  study = await surely("state");
  right = study.right || 0;
  if (study.trials.length) await mainTrials(study);
  document.body.dataset.state = "comment";
  const text = simulation ? "" : await comment(study);
  const told = await surely("finish", { comment: text });
  if (document.fullscreenElement) await document.exitFullscreen().catch(() => {});
  ending(told);
}

document.addEventListener("visibilitychange", () => { if (session) post("note", { kind: `page ${document.visibilityState}` }).catch(() => {}); });
begin();
