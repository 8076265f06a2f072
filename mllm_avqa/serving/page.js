// The page's only script: it sends clips to the API, follows them, and lets what comes back be played and asked about.
"use strict";
const { lang, words, ...served } = JSON.parse(document.getElementById("words").textContent);
const $ = (query, root = document) => root.querySelector(query);
const all = (query, root = document) => [...root.querySelectorAll(query)];
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const made = (tag, text = "", cls = "") => Object.assign(document.createElement(tag), { textContent: text, className: cls });

// ---- the API ---------------------------------------------------------------------------------------------------------

const keyField = $("#key");
if (keyField) {
  keyField.value = sessionStorage.getItem("key") || "";
  keyField.addEventListener("input", () => sessionStorage.setItem("key", keyField.value));
}

async function call(path, options = {}, told = () => {}) {
  const headers = { ...options.headers };
  if (keyField) headers.Authorization = `Bearer ${keyField.value}`;
  for (;;) {
    const answer = await fetch(path, { ...options, headers });
    const again = Number(answer.headers.get("retry-after"));
    if ([429, 503].includes(answer.status) && again) {
      for (let n = again; n > 0; n--) { told(fill(words.wait, { n })); await sleep(1); }
      continue;
    }
    if (!answer.ok) {
      const error = await answer.json().catch(() => ({}));
      throw Object.assign(new Error(error.error?.message || answer.statusText), { status: answer.status });
    }
    return answer;
  }
}

async function* lines(answer) {  // of a body as it comes
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}

// Sends a clip and follows it to its end: {id, rating}.
async function rate(file, tell, { text = "", hold = false, signal } = {}) {
  const form = new FormData();
  form.append("clip", file, file.name);
  if (text) form.append("text", text);
  tell(words.states.sending);
  const begun = await call(`v1/ratings?wait=0&frames=${hold}&hold=${hold}&lang=${lang}`, { method: "POST", body: form, signal }, tell);
  const place = begun.headers.get("location").slice(1);
  signal?.addEventListener("abort", () => call(place, { method: "DELETE" }).catch(() => {}));
  let kind = "";
  for await (const line of lines(await call(place, { headers: { Accept: "text/event-stream" }, signal }))) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    if (!line.startsWith("data: ")) continue;
    const data = JSON.parse(line.slice(6));
    if (kind === "error") throw new Error(data.error.message);
    if (kind === "rating") return { id: place.split("/").pop(), rating: data };
    tell(words.states[data.progress >= 1 ? "writing" : data.state], data.progress);
  }
  throw new Error("?");
}

// ---- what all tabs share ---------------------------------------------------------------------------------------------

const tabs = all("[role=tab]");
function open(tab) {
  for (const t of tabs) {
    t.setAttribute("aria-selected", t === tab);
    t.tabIndex = t === tab ? 0 : -1;
    document.getElementById(t.getAttribute("aria-controls")).hidden = t !== tab;
  }
}
for (const [k, tab] of tabs.entries()) {
  tab.addEventListener("click", () => open(tab));
  tab.addEventListener("keydown", (e) => {
    const next = { ArrowRight: k + 1, ArrowLeft: k - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[e.key];
    if (next === undefined) return;
    e.preventDefault();
    open(tabs[next % tabs.length]);
    tabs[next % tabs.length].focus();
  });
}

function status(panel) {  // where a panel says how far it is
  const place = $(".status", panel);
  return (text, progress) => {
    place.textContent = text;
    place.classList.remove("wrong");
    if (!text || text === words.states.done) return;
    const bar = document.createElement("progress");
    if (progress !== undefined) bar.value = progress;
    bar.setAttribute("aria-label", text);
    place.prepend(bar);
  };
}
function wrong(panel, error) {
  const place = $(".status", panel);
  place.textContent = error.name === "AbortError" ? "" : fill(words.failed, { why: error.message });
  place.classList.add("wrong");
}

function drop(zone, take) {
  zone.addEventListener("dragover", (e) => { e.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (e) => {
    e.preventDefault();
    zone.classList.remove("over");
    if (e.dataTransfer.files.length) take([...e.dataTransfer.files]);
  });
  for (const input of all("input[type=file]", zone)) {
    input.addEventListener("change", () => input.files.length && take([...input.files]));
  }
}

function play(place, file) {  // a player, or a picture
  const still = file.type.startsWith("image/");
  const player = document.createElement(still ? "img" : "video");
  if (still) player.alt = file.name;
  else Object.assign(player, { controls: true, preload: "metadata", ariaLabel: file.name });
  player.addEventListener("error", () => place.replaceChildren(made("p", words.no_player, "note")), { once: true });
  player.src = URL.createObjectURL(file);
  place.replaceChildren(player);
  return player;
}

function settle(root) {  // positions that the page's policy keeps out of the markup
  for (const mark of all("[data-left]", root)) {
    mark.style.left = `${mark.dataset.left}%`;
    mark.style.width = `${mark.dataset.width}%`;
  }
}

function save(name, content, type) {
  const link = made("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
}

// ---- one clip --------------------------------------------------------------------------------------------------------

const one = $("#one"), oneForm = $("#one-form"), result = $("#one-result");
let chosen = null, held = null, player = null, abort = null;

function choose(file) {
  chosen = file;
  $(".chosen", oneForm).textContent = file.name;
  $("[type=submit]", oneForm).disabled = false;
}
drop(oneForm, ([file]) => choose(file));

oneForm.addEventListener("submit", async (e) => {
  e.preventDefault();
  abort?.abort();
  abort = new AbortController();
  const tell = status(one), { signal } = abort;
  result.hidden = true;
  try {
    const { id, rating } = await rate(chosen, tell, { text: oneForm.elements.text.value, hold: true, signal });
    $(".told", result).innerHTML = await (await call(`page/ratings/${id}`)).text();  // made and escaped by the server
    player = play($(".player", result), chosen);
    const line = $(".timeline", result);
    settle(result);
    held = { id, url: `sha256:${rating.content_hash}`, name: rating.path };
    $(".talk", result).replaceChildren();
    result.hidden = false;
    tell(words.states.done);
    result.focus();
    player.addEventListener?.("timeupdate", () => now(line));
  } catch (error) { wrong(one, error); }
});

function now(line) {  // marks of this moment
  for (const mark of all(".mark", line)) {
    const at = 100 * player.currentTime / (Number(line.dataset.seconds) || 1);
    const inside = at >= Number(mark.dataset.left) && at < Number(mark.dataset.left) + Number(mark.dataset.width);
    mark.classList.toggle("now", inside);
  }
}

result.addEventListener("click", async (e) => {
  const seek = e.target.closest("[data-at]"), kept = e.target.closest("[data-save]");
  const curve = e.target.closest(".curve");
  if (curve && player && "currentTime" in player) {
    const box = curve.getBoundingClientRect();
    player.currentTime = Number($(".timeline", result).dataset.seconds) * (e.clientX - box.left) / box.width;
  }
  if (seek && player && "currentTime" in player) player.currentTime = Number(seek.dataset.at);
  if (kept) {
    const html = kept.dataset.save === "html";
    const type = html ? "text/html" : "application/json";
    try {
      const answer = await call(`v1/ratings/${held.id}`, { headers: { Accept: type } });
      save(`${held.name}.${html ? "html" : "json"}`, await answer.text(), type);
    } catch (error) { wrong(one, error); }
  }
});

// recording
let recorder = null;
$("#record").addEventListener("click", async (e) => {
  const button = e.target;
  if (recorder) { recorder.stop(); return; }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    const pieces = [], place = $(".chosen", oneForm);
    recorder = new MediaRecorder(stream);
    recorder.addEventListener("dataavailable", (d) => pieces.push(d.data));
    recorder.addEventListener("stop", () => {
      for (const track of stream.getTracks()) track.stop();
      const type = recorder.mimeType.split(";")[0];
      recorder = null;
      button.textContent = words.record;
      place.replaceChildren();
      choose(new File(pieces, `recording.${type.split("/")[1] || "webm"}`, { type }));
    });
    const live = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, autoplay: true });
    place.replaceChildren(live);
    recorder.start();
    button.textContent = words.stop;
  } catch (error) { wrong(one, new Error(fill(words.no_camera, { why: error.message }))); }
});

// chat
const askForm = $("#ask");
for (const example of all(".examples button")) {
  example.addEventListener("click", () => { askForm.elements.question.value = example.textContent; askForm.requestSubmit(); });
}
askForm.addEventListener("submit", async (e) => {
  e.preventDefault();
  const question = askForm.elements.question.value.trim(), talk = $(".talk", result);
  if (!question || !held) return;
  askForm.reset();
  const line = (who, text) => {
    const p = made("p", "", who), said = made("span", text, "said");
    p.append(made("b", `${words[who]}: `), said);
    talk.append(p);
    return said;
  };
  line("you", question);
  const said = line("model", "…");
  try {
    const content = [{ type: "video_url", video_url: { url: held.url } }, { type: "text", text: question }];
    served.model ||= (await (await call("v1/models")).json()).data[0].id;  // the page may have come before the model
    const body = JSON.stringify({ model: served.model, lang, stream: true, messages: [{ role: "user", content }] });
    const answer = await call("v1/chat/completions", { method: "POST", body, headers: { "Content-Type": "application/json" } });
    let text = "";
    for await (const l of lines(answer)) {
      if (!l.startsWith("data: {")) continue;
      const data = JSON.parse(l.slice(6));
      if (data.error) throw new Error(data.error.message);
      text += data.choices[0]?.delta.content || "";
      said.textContent = text || "…";
    }
    if (!text) said.textContent = "–";
  } catch (error) { said.textContent = error.status === 404 ? words.gone : fill(words.failed, { why: error.message }); }
});

// ---- two clips -------------------------------------------------------------------------------------------------------

const two = $("#two"), twoForm = $("#two-form"), pair = {};
for (const zone of all(".drop", twoForm)) {
  const name = $("input", zone).name;
  drop(zone, ([file]) => {
    pair[name] = file;
    $(".chosen", zone).textContent = file.name;
    play($(".player", zone), file);
    $("[type=submit]", twoForm).disabled = !(pair.first && pair.second);
  });
}
twoForm.addEventListener("submit", async (e) => {
  e.preventDefault();
  const tell = status(two);
  try {
    const ids = [];
    for (const file of [pair.first, pair.second]) {
      ids.push((await rate(file, (text, progress) => tell(`${file.name}: ${text}`, progress))).id);
    }
    const told = $(".told", two);
    told.innerHTML = await (await call(`page/compare/${ids[0]}/${ids[1]}`)).text();
    tell(words.states.done);
    told.focus();
  } catch (error) { wrong(two, error); }
});

// ---- a folder --------------------------------------------------------------------------------------------------------

const many = $("#many"), manyForm = $("#many-form"), table = $("#many-table"), body = $("tbody", table);
const heads = all("th", table), MEDIA = /\.(mp4|m4v|mov|mkv|webm|avi|ts|flv|ogv|ogg|wav|mp3|flac|m4a|opus|aac|png|jpe?g|webp|gif)$/i;
let queue = [];
drop(manyForm, (files) => {
  queue = files.filter((f) => /^(video|audio|image)\//.test(f.type) || MEDIA.test(f.name));
  $(".chosen", manyForm).textContent = queue.map((f) => f.webkitRelativePath || f.name).slice(0, 20).join(", ") + (queue.length > 20 ? " …" : "");
  $("[type=submit]", manyForm).disabled = !queue.length;
});

manyForm.addEventListener("submit", async (e) => {
  e.preventDefault();
  const button = $("[type=submit]", manyForm), tell = status(many), count = { done: 0, failed: 0, all: queue.length };
  button.disabled = true;
  body.replaceChildren();
  table.hidden = false;
  const rows = queue.map((file) => {
    const row = made("tr");
    for (const th of heads) row.append(made(th.dataset.key === "name" ? "th" : "td"));
    row.firstChild.scope = "row";
    set(row, "name", file.webkitRelativePath || file.name);
    set(row, "state", words.states.queued);
    body.append(row);
    return { file, row };
  });
  const work = async () => {
    for (let job; (job = rows.shift()); ) {
      try {
        const { rating } = await rate(job.file, (text) => set(job.row, "state", text));
        for (const [aspect, d] of Object.entries(rating.scores)) set(job.row, aspect, d ? d.score.toFixed(2) : "–", d?.score ?? -1);
        set(job.row, "found", rating.findings[0]?.name || "–");
        set(job.row, "state", words.states.done);
        count.done++;
      } catch (error) {
        set(job.row, "state", fill(words.failed, { why: error.message }));
        count.failed++;
      }
      tell(fill(words.count, count), (count.done + count.failed) / count.all);
    }
  };
  tell(fill(words.count, count), 0);
  await Promise.all([work(), work()]);
  $("progress", many)?.remove();
  button.disabled = false;
});

function set(row, key, text, order = text) {
  const cell = row.children[heads.findIndex((th) => th.dataset.key === key)];
  cell.textContent = text;
  cell.dataset.order = order;
}
for (const [k, th] of heads.entries()) {
  $("button", th).addEventListener("click", () => {
    const up = th.getAttribute("aria-sort") !== "ascending";
    for (const other of heads) other.setAttribute("aria-sort", other === th ? (up ? "ascending" : "descending") : "none");
    const value = (row) => row.children[k].dataset.order ?? "";
    const rows = [...body.children].sort((a, b) => value(a).localeCompare(value(b), lang, { numeric: true }));
    body.append(...(up ? rows : rows.reverse()));
  });
}
$("#save").addEventListener("click", () => {
  const quoted = (text) => `"${text.replace(/^[=+\-@\t\r](?!\d)/, "'$&").replaceAll('"', '""')}"`;  // no formulas for spreadsheets
  const rows = all("tr", table).map((row) => [...row.children].map((cell) => quoted(cell.textContent)).join(","));
  save("ratings.csv", "\ufeff" + rows.join("\r\n") + "\r\n", "text/csv");
});
