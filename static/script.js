// What pages gain where scripts run; without them everything works. No text is said here: it stands in data-… attributes.

// Copies what data-copy says, or what stands in the field that data-from names, or in the one beside it.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const before = button.textContent;
  const field = document.getElementById(button.dataset.from) || button.parentElement.querySelector("input");
  button.hidden = false;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    if (!await copy(button.dataset.copy || field.value)) return field?.select();
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = before; }, 2000);
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // there is none but on https and on this machine, or it is forbidden
    const focused = document.activeElement;
    const box = Object.assign(document.createElement("textarea"), { value: text, readOnly: true, className: "unseen" });
    document.body.append(box);
    box.select();
    const copied = document.execCommand("copy");
    box.remove();
    focused.focus();
    return copied;
  }
}

// Sharing, where the browser can, with the words that are ready: a button, or one beside each link of a table.
if (navigator.share) {
  for (const table of document.querySelectorAll("[data-shares]")) {
    for (const input of table.querySelectorAll(".copy input")) {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "plain" });
      button.textContent = table.dataset.label;
      button.dataset.title = table.dataset.shares;
      button.dataset.share = `${table.dataset.shares}: ${input.value}`;
      input.parentElement.append(button);
    }
  }
  for (const button of document.querySelectorAll("button[data-share]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      navigator.share({ title: button.dataset.title, text: button.dataset.share }).catch(() => {}); // they changed their mind
    });
  }
}

for (const button of document.querySelectorAll("button[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

// A field that counts with one choice of a list is shown with that choice, and is not sent without it.
for (const list of document.querySelectorAll("select[data-reveals]")) {
  const field = document.getElementById(list.dataset.reveals);
  const show = () => {
    field.disabled = list.value !== list.dataset.when;
    field.closest(".field").hidden = field.disabled;
  };
  list.addEventListener("change", show);
  addEventListener("pageshow", show); // the back button brings an earlier choice back
  show();
}

// Where the reader's day ends: how many minutes they are behind UTC on the day that they chose.
for (const input of document.querySelectorAll("input[data-offset-of]")) {
  const day = document.getElementById(input.dataset.offsetOf);
  input.form.addEventListener("submit", () => {
    input.value = day.value && new Date(`${day.value}T23:59`).getTimezoneOffset() || "";
  });
}

for (const input of document.querySelectorAll("input[readonly]")) {
  input.addEventListener("focus", () => input.select());
}

for (const input of document.querySelectorAll("input[data-show]")) {
  const { show, hide } = input.dataset;
  const button = Object.assign(document.createElement("button"), { type: "button", className: "plain", textContent: show });
  const box = Object.assign(document.createElement("div"), { className: "reveal" });
  input.replaceWith(box);
  box.append(input, button);
  if (input === document.querySelector("[autofocus]")) input.focus(); // a field that is moved loses the focus
  button.setAttribute("aria-controls", input.id);
  button.addEventListener("click", () => {
    const hidden = input.type === "password";
    input.type = hidden ? "text" : "password";
    button.textContent = hidden ? hide : show;
  });
  input.form?.addEventListener("submit", () => { input.type = "password"; });
}

// Length is what makes a password hard to guess; what everybody uses is refused by the server.
for (const input of document.querySelectorAll("input[data-meter]")) {
  const least = Number(input.dataset.meter);
  const words = [input.dataset.short, input.dataset.fair, input.dataset.good, input.dataset.strong];
  const line = Object.assign(document.createElement("div"), { className: "meter", hidden: true });
  const meter = Object.assign(document.createElement("meter"), { min: 0, max: 3, low: 1, high: 2, optimum: 3 });
  const word = document.createElement("span");
  meter.setAttribute("aria-hidden", "true");
  word.setAttribute("role", "status");
  line.append(meter, word);
  input.closest(".field").append(line);
  input.addEventListener("input", () => {
    const length = [...input.value].length;
    const different = new Set(input.value).size;
    const strength = length < least ? 0 : different < 5 || length < least + 4 ? 1 : length < least + 8 ? 2 : 3;
    line.hidden = length === 0;
    meter.value = strength + (strength === 0 ? 0.5 : 0);
    if (word.textContent !== words[strength]) word.textContent = words[strength];
  });
}

// A second click while the first is on its way does nothing.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) return event.preventDefault();
  if (event.target.dataset.sure && !confirm(event.target.dataset.sure)) return event.preventDefault();
  event.target.dataset.sent = "yes";
  event.submitter?.setAttribute("aria-disabled", "true");
  setTimeout(() => release(event.target), 8000);
});
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach(release));
function release(form) {
  delete form.dataset.sent;
  form.querySelectorAll("[aria-disabled]").forEach((button) => button.removeAttribute("aria-disabled"));
}

// Moments in the reader's own time zone.
const spoken = (style) => new Intl.DateTimeFormat(document.documentElement.dataset.dates, style);
const exact = spoken({ dateStyle: "long", timeStyle: "short" });
const day = spoken({ dateStyle: "medium" });
for (const time of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(time.dateTime);
  time.title = exact.format(moment);
  time.textContent = "short" in time.dataset ? day.format(moment) : time.title;
}

// That somebody has just signed in is of no use in the history or in bookmarks.
if (/[?&]entered=/.test(location.search)) history.replaceState(history.state, "", location.href.replace(/[?&]entered=\d+/, ""));

// Everything on this page is selected, or nothing.
for (const all of document.querySelectorAll("input[data-all]")) {
  const each = () => [...all.form.querySelectorAll(`input[name="${all.dataset.all}"]`)];
  const look = () => { all.checked = each().every((one) => one.checked); };
  all.closest("label").hidden = false;
  all.addEventListener("change", () => each().forEach((one) => { one.checked = all.checked; }));
  all.form.addEventListener("change", (event) => event.target === all || look());
  addEventListener("pageshow", look);
}
