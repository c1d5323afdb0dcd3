// Small helpers of the page. Data only ever becomes text nodes and attributes, never markup.

export const $ = (id) => document.getElementById(id);

/** Make an element: `on…` attributes are listeners, children are nodes or text. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Make an icon that page.html draws as a symbol. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "i");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Show a line for a few seconds; it is also spoken. */
export function toast(text) {
  const line = el("p", {}, text);
  $("toasts").append(line);
  setTimeout(() => line.remove(), 4000);
}

/** Show an error message, or hide it where there is none. */
export function tell(node, message) {
  node.textContent = message || "";
  node.hidden = !message;
}

export function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

/** Seconds for people: 3.4 s, 1:05, 2:03:07. */
export function clock(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, at) => (at ? String(part).padStart(2, "0") : part)).join(":");
}

/** A path for display: the API's %XX of bytes outside UTF-8 become the replacement character. */
export const readable = (path) => path.replaceAll(/(?:%[89A-F][0-9A-F])+/g, (found) => {
  try {
    return decodeURIComponent(found) && found; // whole UTF-8: the name of a web address, as it is
  } catch {
    return "\ufffd".repeat(found.length / 3);
  }
});

/** Whether a result is a part of the clip, and not the whole of it. */
export const isPart = ({ start, end, seconds }) => Boolean(end) && (start > 0 || end < (seconds || 0) - 0.5);

/** The last part of a clip's path. */
export const nameOf = (path) => readable(path.split("/").pop());

export const perceived = { audio: "sound", visual: "video", text: "text" };

export function after(milliseconds, work) {
  let waiting = 0;
  return (...given) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => work(...given), milliseconds);
  };
}

/** Fill a <select> with classes and their counts; its first entry, "any", stays. */
export function fillClasses(select, labels) {
  const chosen = select.value;
  select.replaceChildren(select.options[0]);
  for (const [label, count] of Object.entries(labels)) {
    select.append(el("option", { value: label }, `${label} (${count})`));
  }
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

/** Save text as a file of the person's own. */
export function save(name, kind, text) {
  const url = URL.createObjectURL(new Blob([text], { type: kind }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
