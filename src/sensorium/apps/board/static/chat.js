// The answer is written into the page as it comes. Without this, the form sends the whole page and gets it back.
const talk = document.querySelector("[data-chat]");
if (talk) {
  const turns = document.getElementById("turns"), said = document.getElementById("said"), stop = document.getElementById("stop");
  const send = talk.querySelector("button:not([type])"), words = talk.elements.text, file = talk.elements.image;
  let asking = null;
  words.placeholder = "Enter sends; with shift it begins a new line";
  const tell = problem => {
    said.replaceChildren();
    if (problem) said.append(Object.assign(document.createElement("p"), { className: "stale", textContent: problem }));
  };
  const busy = on => { send.disabled = on; stop.hidden = !on; if (!on) words.focus({ preventScroll: true }) };
  const clear = () => {
    words.value = file.value = "";
    file.dispatchEvent(new Event("change", { bubbles: true }));
    document.getElementById("attached")?.remove();
  };
  // Events are JSON after "data: ", with an empty line after each.
  async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) yield JSON.parse(part.slice("data: ".length));
    }
  }
  const failed = async response => {
    const text = await response.text();
    try { const told = JSON.parse(text.replace(/^data: /, "")); return told.problem ?? told.error.message } catch { return `the server answered ${response.status}` }
  };
  async function ask() {
    let both = [], answer = null, first = true;
    asking = new AbortController();
    busy(true);
    tell("");
    try {
      const response = await fetch(talk.dataset.chat, { method: "POST", body: new FormData(talk), signal: asking.signal });
      if (!response.ok || !response.headers.get("content-type").startsWith("text/event-stream")) return tell(await failed(response));
      for await (const event of events(response)) {
        if (event.turns) {
          const there = turns.children.length;
          turns.insertAdjacentHTML("beforeend", event.turns);
          both = [...turns.children].slice(there);
          answer = both.at(-1);
          answer.setAttribute("aria-busy", "true");
        } else if (event.problem) {
          if (first) both.forEach(turn => turn.remove());
          tell(event.problem);
        } else {
          if (first) clear();
          first = false;
          answer.querySelector(".said").append(event.text);
          answer.querySelector("[name=said]").value += event.text;
          answer.querySelector(".note").textContent = event.note;
        }
        answer?.scrollIntoView({ block: "nearest" });
      }
    } catch (problem) {
      if (problem.name !== "AbortError") tell("the server is gone; the message was not answered");
      if (first) both.forEach(turn => turn.remove());
      else answer.querySelector(".note").textContent = "stopped";
    } finally {
      answer?.removeAttribute("aria-busy");
      asking = null;
      busy(false);
    }
  }
  talk.addEventListener("submit", event => {
    event.preventDefault();
    if (!asking) ask();
  });
  stop.addEventListener("click", () => asking?.abort());
  words.addEventListener("keydown", event => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    talk.requestSubmit();
  });
}
