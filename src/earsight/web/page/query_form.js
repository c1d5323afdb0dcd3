// The ways to search: by words, by a file that is chosen or dropped, by a recording.

import { $, plural, toast } from "./dom.js";

const LONGEST = 30; // seconds of a recording

/**
 * Wire the form, the drop and the microphone.
 *
 * @param onSearch Called with {kind: "text", text} or {kind: "file", file}.
 */
export function setUpQueryForm(onSearch) {
  $("words").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("text").value.trim();
    if (text) onSearch({ kind: "text", text });
    else $("text").focus();
  });
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    if (file) onSearch({ kind: "file", file });
    $("file").value = ""; // the same file may be chosen again
  });
  setUpDrop((file) => onSearch({ kind: "file", file }));
  $("record").addEventListener("click", () => record((file) => onSearch({ kind: "file", file })));
}

function setUpDrop(onFile) {
  let inside = 0; // dragenter and dragleave come for every element passed
  const has = (event) => event.dataTransfer?.types.includes("Files");
  const shown = (yes) => { $("drop").hidden = !yes; };
  window.addEventListener("dragenter", (event) => {
    if (!has(event)) return;
    inside += 1;
    shown(true);
  });
  window.addEventListener("dragleave", (event) => {
    if (!has(event)) return;
    inside = Math.max(0, inside - 1);
    if (!inside) shown(false);
  });
  window.addEventListener("dragover", (event) => has(event) && event.preventDefault());
  window.addEventListener("drop", (event) => {
    inside = 0;
    shown(false);
    if (!has(event)) return;
    event.preventDefault();
    const files = event.dataTransfer.files;
    if (!files.length) return;
    if (files.length > 1) toast(`A search takes one file. The first of ${plural(files.length, "file")} is used.`);
    onFile(files[0]);
  });
}

let recorder = null;

async function record(onFile) {
  if (recorder) {
    recorder.stop();
    return;
  }
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    toast("This browser records only on the machine of the server, or over https.");
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    toast(error.name === "NotFoundError" ? "No microphone was found."
      : "The browser blocked the microphone. Its site settings can allow it.");
    return;
  }
  const parts = [];
  recorder = new MediaRecorder(stream);
  const button = $("record");
  const begun = performance.now();
  const kind = recorder.mimeType;
  const ticking = setInterval(() => {
    const seconds = (performance.now() - begun) / 1000;
    button.lastElementChild.textContent = `Stop (${seconds.toFixed(0)} s)`;
    if (seconds >= LONGEST) recorder?.stop();
  }, 250);
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recorder.addEventListener("stop", () => {
    clearInterval(ticking);
    stream.getTracks().forEach((track) => track.stop());
    recorder = null;
    shape(button, false);
    const blob = new Blob(parts, { type: kind });
    const ending = kind.includes("mp4") ? "m4a" : kind.includes("ogg") ? "ogg" : "webm";
    // A recording is sound alone, whatever its container is called.
    onFile(new File([blob], `recording.${ending}`, { type: kind.replace("video/", "audio/") }));
  });
  recorder.start();
  shape(button, true);
}

function shape(button, recording) {
  button.classList.toggle("recording", recording);
  button.setAttribute("aria-pressed", String(recording));
  button.querySelector("use").setAttribute("href", recording ? "#i-stop" : "#i-mic");
  button.lastElementChild.textContent = recording ? "Stop (0 s)" : "Record";
}
