// A page that --watch writes again loads itself again. What the reader chose is kept over a reload, in the storage of
// the tab: theme, x axes, checkpoint, image, filter, output pixel, open details, keyboard focus and position.

const STORED = `glassbox report ${location.pathname}`;

// A name for a details element that is the same in the next page: its section, the heading before it, its summary.
function named(details) {
  const figure = details.closest("figure"), section = details.closest("section");
  const heading = figure && figure.querySelector("h3, h4");
  const parts = [section && section.id, heading && heading.textContent, details.querySelector("summary").textContent];
  return parts.join(" | ");
}

// The control that has the focus, as something to find it by; null if it is none of them.
function focused() {
  const at = document.activeElement;
  if (at.id) return { css: `#${CSS.escape(at.id)}` };
  if (at.matches("input[type=radio]")) return { css: `input[name=${CSS.escape(at.name)}]:checked` };
  if (at.matches("summary")) return { details: named(at.parentElement) };
  if (at.matches("nav a")) return { link: at.hash };
  const root = at.closest("[data-inside]");
  return root && at.className ? { css: `[data-inside="${root.dataset.inside}"] .${at.className.split(" ").pop()}` } : null;
}

function found({ css, details, link }) {
  if (css) return document.querySelector(css);
  if (link) return all("nav a").find((one) => one.hash === link);
  const same = all("details").find((one) => named(one) === details);
  return same && same.querySelector("summary");
}

// [name, element] of what the page is made of, from top to bottom; a finding that is added renames its own section only.
function parts() {
  return all("section").flatMap((section) =>
    all("h2, h3, figure", section).map((part, i) => [`${section.id} ${i}`, part]));
}

const edge = (part) => part.getBoundingClientRect().top;

// What is at the upper edge of the window, and how far below it; null at the head of the page.
function position() {
  const below = parts().find(([, part]) => edge(part) >= 0) || parts().at(-1);
  return scrollY && below ? { name: below[0], top: edge(below[1]) } : null;
}

function keep() {
  const state = {
    theme: theme.value,
    axes: Object.fromEntries(all("input.x:checked").map((input) => [input.name, input.value])),
    open: all("details[open]").map(named),
    inside: Object.fromEntries(explorers.map((one) => [one.root.dataset.inside, one.state()])),
    focus: focused(),
    position: position(),
  };
  try {
    sessionStorage.setItem(STORED, JSON.stringify(state));
  } catch {
    // a browser that stores nothing: the page begins anew
  }
}

function restore(state) {
  theme.value = state.theme;
  theme.dispatchEvent(new Event("change"));
  for (const [name, value] of Object.entries(state.axes)) {
    const input = all("input.x").find((one) => one.name === name && one.value === value);
    if (input) input.click();
  }
  for (const details of all("details")) details.open = details.open || state.open.includes(named(details));
  for (const one of explorers) if (state.inside[one.root.dataset.inside]) one.restore(state.inside[one.root.dataset.inside]);
  const control = state.focus && found(state.focus), at = state.position;
  if (control) control.focus({ preventScroll: true });
  const part = at && parts().find(([name]) => name === at.name);
  if (part) scrollBy({ top: edge(part[1]) - at.top, behavior: "instant" });
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED));
  } catch {
    return null;
  }
}

addEventListener("pagehide", keep);
const [navigation] = performance.getEntriesByType("navigation");
if (navigation && navigation.type === "reload" && kept()) {
  history.scrollRestoration = "manual";
  restore(kept());
}

// Loads the page again after some seconds; not while a button of the mouse is down or a finger on the slider.
const seconds = Number(document.documentElement.dataset.reload);
if (seconds) {
  let held = false;
  addEventListener("pointerdown", () => { held = true; }, true);
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { held = false; }, true);
  const again = () => (held ? setTimeout(again, 200) : location.reload());
  setTimeout(again, 1000 * seconds);
}
