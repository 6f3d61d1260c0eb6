// What is wrong with the page that is shown, as sentences: what an automatic check of the Web Content
// Accessibility Guidelines can see.
const wrong = [];
const all = (css) => [...document.querySelectorAll(css)];
const told = (node) => node.outerHTML.slice(0, 100);
const seen = (node) => node.getClientRects().length > 0 && getComputedStyle(node).visibility === "visible";

if (!document.documentElement.lang) wrong.push("no language");
if (!document.title.trim()) wrong.push("no title");
const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > width) {
  const wide = all("body *").filter((one) => one.getBoundingClientRect().right > width && !one.closest(".wide, pre"));
  wrong.push(`it is wider than the screen: ${wide.slice(0, 3).map(told).join(" ")}`);
}
if (all("main").length !== 1) wrong.push("not one main part");
if (all("nav[aria-label]").length < 1) wrong.push("no navigation");

let level = 0;
for (const heading of all("h1, h2, h3, h4, h5, h6")) {
  const next = Number(heading.tagName[1]);
  if (next > level + 1) wrong.push(`h${next} after h${level}: ${told(heading)}`);
  level = next;
}
if (all("h1").length !== 1) wrong.push("not one h1");

const ids = new Set();
for (const { id } of all("[id]")) {
  if (ids.has(id)) wrong.push(`the id ${id} is there twice`);
  ids.add(id);
}

const name = (node) =>
  (node.getAttribute("aria-label") || node.innerText || node.textContent || node.title || "").trim();
for (const field of all("input:not([type=hidden]), select, textarea")) {
  if (!field.labels.length && !field.getAttribute("aria-label")) wrong.push(`no label: ${told(field)}`);
}
for (const act of all("a[href], button").filter(seen)) {
  if (!name(act)) wrong.push(`no name: ${told(act)}`);
  const box = act.getBoundingClientRect();
  const inText = act.matches("p a, td a:not(.button), li a, small a, th a");
  if (!inText && !act.matches(".skip") && (box.height < 24 || box.width < 24)) {
    wrong.push(`too small to be hit, ${Math.round(box.width)} by ${Math.round(box.height)}: ${told(act)}`);
  }
}
for (const table of all("table")) {
  if (!table.caption) wrong.push(`a table without a caption: ${told(table)}`);
  if (table.querySelectorAll("th:not([scope])").length) wrong.push(`a head without scope: ${told(table)}`);
}
for (const image of all("svg, img")) {
  const hidden = image.getAttribute("aria-hidden") === "true";
  if (!hidden && !name(image)) wrong.push(`a picture that says nothing: ${told(image)}`);
}
for (const box of all("*").filter((one) => one.scrollWidth > one.clientWidth + 1 && one !== document.documentElement)) {
  if (/(auto|scroll)/.test(getComputedStyle(box).overflowX) && box.tabIndex < 0) {
    wrong.push(`scrolls, but not by keys: ${told(box)}`);
  }
}

// Contrast: WCAG 2.2, 1.4.3.
const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
const light = ([r, g, b]) => {
  const part = (value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
};
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = parts(getComputedStyle(at).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const faint = new Set();
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.nodeValue.trim() || !seen(node) || /^(SCRIPT|STYLE|OPTION)$/.test(node.tagName)) continue;
  const style = getComputedStyle(node);
  const [one, other] = [light(parts(style.color)), light(behind(node))];
  const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (contrast < (large ? 3 : 4.5)) faint.add(`contrast ${contrast.toFixed(2)}: ${told(node)}`);
}
wrong.push(...faint);
return wrong;
