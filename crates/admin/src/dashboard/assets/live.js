// Fetches the page anew whenever the gateway says that time has passed, and changes what is there into it,
// node by node: focus, selection, scroll positions and what is open stay. Not while somebody types, has text
// selected or has paused it. Without this script the page reloads itself.
(() => {
  "use strict";
  const main = document.getElementById("main");
  const pause = document.getElementById("pause");
  const contact = document.getElementById("contact");
  let busy = false;
  let paused = false;

  // What belongs to this script (`data-own`) is left alone.
  const own = (node) => node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("data-own");
  const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.id === b.id;
  const become = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (own(old)) return;
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(old.nodeName === "DETAILS" && name === "open")) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const there = [...old.childNodes];
    const wanted = [...fresh.childNodes];
    wanted.forEach((node, place) => {
      const at = there[place];
      if (!at) old.append(node);
      else if (same(at, node)) become(at, node);
      else at.replaceWith(node);
    });
    there.slice(wanted.length).forEach((node) => node.remove());
  };

  const typing = () => {
    const at = document.activeElement;
    return at && main.contains(at) && /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName);
  };
  const selecting = () => String(window.getSelection()) !== "";
  const heard = (is) => {
    const lost = is ? "" : "No contact with the gateway";
    if (contact.textContent !== lost) contact.textContent = lost;
  };
  const refresh = async () => {
    if (busy || paused || document.hidden || typing() || selecting()) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) { location.href = answer.url; return; }
      if (answer.ok && !paused && !typing()) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const id of ["top", "main"]) {
          const fresh = page.getElementById(id);
          if (fresh) become(document.getElementById(id), fresh);
        }
        if (document.title !== page.title) document.title = page.title;
      }
      heard(true);
    } catch {
      heard(false);
    } finally {
      busy = false;
    }
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    refresh();
  });
  const events = new EventSource("/admin/events");
  events.addEventListener("tick", refresh);
  let slowly = 0;
  events.onerror = () => {
    // Refused for good, as too many listen: look now and then instead.
    if (events.readyState === EventSource.CLOSED) slowly ||= setInterval(refresh, 10000);
    else heard(false);
  };
})();
