// The server's part for a folder of files: answers stay in this page until the end.
"use strict";

const desk = { answers: [], begun: Date.now() / 1000, instructionSeconds: 0, right: 0 };

function staticPost(verb, body) {
  const { state, blocks, answers } = window.IMI_TASK;
  const judged = (block, number, button) => {
    const key = answers[block] && answers[block][number];
    if (key === undefined || key < 0) return null;
    return state.kind === "choice" ? (button <= 2) === Boolean(key) : button === key;
  };
  const of = (block) => desk.answers.filter((a) => a.block === block);
  const verbs = {
    enter: () => ({ ...state, trials: blocks.main.slice(of("main").length), answered: of("main").length, right: desk.right }),
    consent: () => ({ state: body.agree ? "instructions" : "refused" }),
    instructions: () => { desk.instructionSeconds += body.seconds; return { state: "practice" }; },
    practice: () => {
      const rounds = Object.keys(blocks).filter((name) => name !== "main").sort();
      const done = rounds.filter((name) => of(name).length === blocks[name].length);
      const last = done.at(-1);
      if (last && of(last).every((a) => a.correct !== false)) return { state: "main", trials: [] };
      if (done.length === rounds.length) return { state: "main", trials: [] }; // judged by the rule on rounds
      return { state: "practice", round: done.length + 1, trials: blocks[rounds[done.length]] };
    },
    answer: () => {
      const correct = judged(body.block, body.number, body.button);
      desk.answers.push({ ...body, received: Date.now() / 1000, correct });
      if (body.block === "main") desk.right += correct === true;
      return { stored: true, ...(correct === null ? {} : { correct, right: desk.right }) };
    },
    note: () => ({}),
    withdraw: () => ({ state: "withdrawn" }),
    finish: () => { hand(body.comment || ""); return { state: "done", code: state.code }; },
  };
  verbs.state = verbs.enter;
  return Promise.resolve(verbs[verb]());
}

function hand(comment) {
  const result = JSON.stringify({ own: randomName(), begun: desk.begun, instruction_seconds: desk.instructionSeconds,
    comment, simulated: Boolean(simulation), answers: desk.answers.map(({ correct, ...rest }) => rest) });
  if (window.jatos) { window.jatos.endStudy(result); return; }
  const link = element("a", { href: URL.createObjectURL(new Blob([result], { type: "application/json" })), download: "result.json", textContent: "Save your answers", id: "result" });
  setTimeout(() => root.firstElementChild.append(element("p", {}, [link])), 0);
  window.imiResult = result;
}
