// Every word people read, in one place.
"use strict";

const TEXTS = {
  loading: "Loading the images …",
  question: "Which image at the center matches the Right Examples better?",
  left: "Left Examples",
  right: "Right Examples",
  queries: "Images to choose from",
  upperQuery: "upper image",
  lowerQuery: "lower image",
  moreConfident: "More Confident →",
  answerLabel: (name, confidence) => `The ${name} matches better; confidence ${confidence} of 3`,
  ratingQuestion: "How clear is it what the Right Examples have in common that the Left Examples lack?",
  ratingLow: "1: not at all",
  ratingHigh: "7: completely",
  ratingLabel: (i) => `${i} of 7`,
  intruderQuestion: "Four of these images belong together. Which one does not?",
  intruderLabel: (i) => `image ${i} does not belong`,
  correct: "Correct!",
  incorrect: "Incorrect!",
  proceed: "Continue",
  score: (n) => `Correct Answers: ${n}`,
  lost: "The connection is lost. Your answer is kept and is sent as soon as it is back. Please leave this page open.",
};

// Our own small drawings for the instructions: stripes stand for what the right examples share.
function drawing(parts, width = 560, height = 190) {
  return `<figure><svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="a drawing of the screen">${parts}</svg></figure>`;
}
function tile(x, y, striped, size = 44) {
  const lines = striped
    ? [10, 22, 34].map((d) => `<line x1="${x + d}" y1="${y + 4}" x2="${x + d}" y2="${y + size - 4}" stroke="#1b1b1b" stroke-width="5"/>`).join("")
    : `<circle cx="${x + size / 2}" cy="${y + size / 2}" r="13" fill="#8a8a8a"/>`;
  return `<rect x="${x}" y="${y}" width="${size}" height="${size}" fill="#e9e4d8" stroke="#777"/>${lines}`;
}
function board(x, y, striped) {
  let parts = "";
  for (let row = 0; row < 3; row += 1) for (let column = 0; column < 3; column += 1) parts += tile(x + 50 * column, y + 50 * row, striped);
  return parts;
}
function scene({ left = true, right = true, upper = true, lower = true, mark = "" } = {}) {
  return drawing(
    (left ? board(20, 20, false) : "") + (right ? board(396, 20, true) : "") +
    (upper ? tile(258, 20, true) : "") + (lower ? tile(258, 126, false) : "") +
    [0, 1].map((row) => [0, 1, 2].map((i) => `<rect x="${238 + 30 * i}" y="${row ? 100 : 72}" width="24" height="20" rx="4" fill="#f4f4f4" stroke="#333"/><text x="${250 + 30 * i}" y="${(row ? 100 : 72) + 15}" font-size="13" text-anchor="middle">${i + 1}</text>`).join("")).join("") + mark);
}

function page(title, body) { return `<div class="card"><h1>${title}</h1>${body}</div>`; }

// Fifteen pages for natural references, sixteen for synthetic ones.
function choicePages({ mode, references, total, feedback }) {
  const pages = [
    page("Welcome", `<p>In this study you compare images. It has ${total} questions after a short practice and takes about fifteen minutes.</p><p>Please read the next pages with care. You can go back with <b>Previous</b>.</p>`),
    page("Two groups of examples", `<p>On each screen you see two groups of examples: the <b>Left Examples</b> and the <b>Right Examples</b>.</p>${scene({ upper: false, lower: false })}`),
    page("The Right Examples", `<p>The <b>Right Examples</b> share something: a shape, a colour, a texture, a thing, or a mixture of these. Here they share stripes.</p>${scene({ left: false, upper: false, lower: false })}`),
    page("The Left Examples", `<p>The <b>Left Examples</b> lack just that. Comparing the two groups helps to find out what it is.</p>${scene({ right: false, upper: false, lower: false })}`),
  ];
  if (mode === "synthetic") {
    pages.push(page("Computer-made examples", "<p>In this study the examples on both sides are <b>made by a computer</b>. They look unusual: repeated patterns, unreal colours, parts of things. They were made to show as strongly as possible what the Right Examples share, or its opposite on the left.</p><p>The two images in the center are mostly ordinary photographs. Ask which of them holds more of what the Right Examples show.</p>"));
  }
  pages.push(
    page("Two images in the center", `<p>In the center are two further images, one above the other.</p>${scene({ left: false, right: false })}`),
    page("Your question", `<p class="notice"><b>${TEXTS.question}</b></p><p>One of the two always matches better. Here it is the upper one, which has stripes.</p>${scene()}`),
    page("How to answer", `<p>Under the upper image and above the lower image are three buttons each. Press one of the three that stand next to <b>the image you choose</b>.</p>${scene()}`),
    page("How sure you are", "<p>The number says how sure you are: <b>1</b> hardly, <b>2</b> somewhat, <b>3</b> very sure. Please use all of them as you feel.</p>"),
    page("Sometimes it is hard", "<p>Some questions are easy, some are very hard, and it may take a while to see what the Right Examples share. If you cannot tell, choose the image that seems a little better, with confidence 1.</p>"),
    page("The matching image differs", "<p>The matching image need not look like any single example. It only needs to have what the Right Examples share. Colours, things and scenes may be quite different.</p>"),
    page("Time", "<p>The buttons open after one and a half seconds. There is no time limit: look as long as you need, and answer when you have made up your mind.</p>"),
    page("With the keyboard", "<p>You may answer with the mouse or with the keyboard: keys <b>Q W E</b> are the buttons 1 2 3 of the upper image, <b>A S D</b> those of the lower one (by their place on the keyboard). Enter continues.</p>"),
    page("What you are told", feedback
      ? "<p>After each answer a frame shows whether it was right: <b>green</b> and “Correct!”, or <b>red</b> and “Incorrect!”. If you do not see red and green well, go by the words and the signs ✓ and ✗.</p>"
      : "<p>After practice you are not told whether an answer was right.</p>"),
    page("Attention", "<p>Some questions are there to check that you look at the images. They are easy. Please do not click at random: answers given without looking cannot be used.</p>"),
    page("Practice", "<p>Before it begins there are a few practice questions. They are repeated until all of them are answered right in one round.</p><p>When you are ready, press <b>Next</b>.</p>"),
  );
  return pages;
}
function otherPages({ kind, total }) {
  const question = kind === "rating" ? TEXTS.ratingQuestion : TEXTS.intruderQuestion;
  const how = kind === "rating"
    ? "<p>Press a number from 1 (not at all) to 7 (completely); the keys 1 to 7 work too.</p>"
    : "<p>Press the image that does not belong; the keys 1 to 5 work too.</p>";
  return [
    page("Welcome", `<p>This study has ${total} screens after a short practice. You can go back with <b>Previous</b>.</p>`),
    page("Your question", `<p class="notice"><b>${question}</b></p>${how}`),
    page("Time", "<p>The buttons open after one and a half seconds. There is no time limit.</p><p>When you are ready, press <b>Next</b>.</p>"),
  ];
}
function instructionPages(study) { return study.kind === "choice" ? choicePages(study) : otherPages(study); }

function consentPage({ title, contact, simulated_images }) {
  return page(title, `${simulated_images ? '<p><span class="simulated">SIMULATED IMAGES</span> The images of this run are made up; it is a trial of the program.</p>' : ""}
    <p>You are invited to a study of how well people understand what parts of image-recognition networks respond to. You look at images and choose between two of them.</p>
    <p>Taking part is voluntary, and you can stop at any time by closing the page. Your answers, the confidence you give, and the times you take are stored, without your name. Who you are on the platform that sent you is kept in a separate file. You can have your answers deleted on the last page.</p>
    <p>Images may take a moment to load. Some trials use red and green frames, always with words beside them. The study needs a computer with a keyboard or mouse and a window of at least 940 by 600 pixels.</p>
    ${contact ? `<p>Questions: ${contact}</p>` : ""}`);
}
