// Fetches the page anew whenever the gateway says that time has passed, and puts its content in place of
// the old one. Not while somebody types or has text selected. Without this script the page reloads
// itself.
(() => {
  "use strict";
  const main = document.getElementById("main");
  let busy = false;
  const typing = () => {
    const at = document.activeElement;
    return at && main.contains(at) && /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName);
  };
  const selecting = () => String(window.getSelection()) !== "";
  const refresh = async () => {
    if (busy || document.hidden || typing() || selecting()) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) { location.href = answer.url; return; }
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.getElementById("main");
        const at = document.activeElement;
        const id = at && main.contains(at) ? at.id : "";
        if (fresh) main.replaceChildren(...fresh.childNodes);
        if (id) document.getElementById(id)?.focus();
      }
      document.body.classList.remove("stale");
    } catch {
      document.body.classList.add("stale");
    } finally {
      busy = false;
    }
  };
  const events = new EventSource("/admin/events");
  events.addEventListener("tick", refresh);
  let slowly = 0;
  events.onerror = () => {
    // Refused for good, as too many listen: look now and then instead.
    if (events.readyState === EventSource.CLOSED) slowly ||= setInterval(refresh, 10000);
    else document.body.classList.add("stale");
  };
})();
