"""Photographs of every page: `python -m tests.e2e.screenshots` writes docs/screenshots, and fails on text that is cut.

Each page in both themes, both languages and two widths, whole. Text that does not fit its box is listed, exit code 1.
Words after the command name pages: `python -m tests.e2e.screenshots entries` takes those whose name has one of them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.e2e.app_page import ask, by_key, expect_no_exception, open_page, wait_for_answer, wait_until_drawn
from tests.e2e.conftest import NO_CHROMIUM, ROOT, AppServer, find_chromium, launched_chromium, recorded_context
from tests.e2e.stored_examples import json_files, sqlite, store, store_hostile, store_some


@dataclass(frozen=True)
class Subject:
    """A page in one state."""

    name: str
    path: str
    asks: bool = False
    """Ask the prompts of its language first."""
    compares: bool = False
    """Compare all strategies first."""
    opens: tuple[str, ...] = ()
    """Keys of what is folded away and is to be opened, one after the other."""


ENTRY = "/entries?entries_strategy=json&entries_namespace=shared:{language}&entry={entry}"
"""The only entry of its language."""
# In this order: "empty" is what a newcomer sees, so it comes before anything was asked.
SUBJECTS = (
    Subject("playground-empty", "/"),
    Subject("entries-empty", "/entries"),  # of the playground's strategy
    Subject("playground", "/", asks=True),
    Subject("compare-empty", "/compare"),
    Subject("compare", "/compare", compares=True),
    Subject("entries-one", "/entries?entries_strategy=json&entries_namespace=shared:{language}"),
    Subject("entries-one-answer", ENTRY),
    Subject("entries-one-stored", f"{ENTRY}&entry_part=stored"),
    Subject("entries-one-key", f"{ENTRY}&entry_part=key"),
    Subject("entries-one-miss", f"{ENTRY}&entry_part=miss"),
    Subject(
        "entries",
        "/entries?entries_strategy=sqlite&entries_namespace=shared:{language}",
        opens=("entries_glance_open", "entries_transfer_open", "entries_removal_open"),
    ),
    Subject("entries-hostile", "/entries?entries_strategy=sqlite&entries_namespace=shared:hostile"),
    Subject(
        "entries-hostile-answer", "/entries?entries_strategy=sqlite&entries_namespace=shared:hostile&entry={hostile}"
    ),
    Subject("entries-langchain", "/entries?entries_strategy=langchain-sqlite"),
    *(
        Subject(f"guide-{section}", f"/guide?guide_section={section}")
        for section in ("strategies", "workings", "numbers", "code", "data", "health")
    ),
)
THEMES = ("light", "dark")
WIDTHS = (1280, 1920)
PROMPTS = {
    "en-US": ("Who was Carl Sagan?", "Who was Neil Armstrong?", "Who was Carl Sagan?"),
    "pt-BR": ("Quem foi Carl Sagan?", "Quem foi Neil Armstrong?", "Quem foi Carl Sagan?"),
}
"""By browser language. The last one was asked before, so that the page shows a hit."""
ANSWERS = {
    "en": (
        "**Carl Sagan** (1934–1996) was an American astronomer and writer.\n\n- He presented *Cosmos*.\n"
        "- He wrote “Contact”.\n\n```python\nprint('billions')\n```\n"
    ),
    "pt": (
        "**Carl Sagan** (1934–1996) foi um astrônomo e escritor americano.\n\n- Ele apresentou *Cosmos*.\n"
        "- Ele escreveu “Contato”.\n\n```python\nprint('bilhões')\n```\n"
    ),
}
"""By language: the one answer whose entry is photographed."""

FOLDER = ROOT / "docs" / "screenshots"
MODEL = "simulated: {first_token_s: 0.3, tokens_per_second: 400}\n"
"""Slow enough for a hit to look faster."""
COMPARED_MS = 120_000
"""How long a comparison may take."""
TALLEST_PX = 16_000
"""Chromium draws nothing beyond 16,384."""

HIDDEN_HEIGHT = """
() => Math.max(0, ...[...document.querySelectorAll(".stMain, [data-testid='stSidebarContent']")].map(
  (box) => box.scrollHeight - box.clientHeight))
"""

CUT_TEXT = r"""
() => {
  const SLACK_PX = 1;       // rounding
  const ELLIPSIS_PX = 0.02; // an ellipsis comes with the first 64th of a pixel
  const LINE_SLACK = 0.25;  // of a line: a font's box is taller than its letters
  const BY_DESIGN = "canvas, svg, pre, code, script, style, .katex, [data-testid='stJson']";
  const PAGE = ".stMain, [data-testid='stSidebarContent']";  // here a sideways scroll is no design
  const found = [];

  const name = (element) => {
    const steps = [];
    for (let e = element; e && e !== document.body && steps.length < 4; e = e.parentElement) {
      const key = [...e.classList].find((c) => c.startsWith("st-key-"));
      if (key) { steps.unshift("." + key); break; }
      if (e.dataset.testid) steps.unshift(`[data-testid='${e.dataset.testid}']`);
    }
    return [...steps, element.localName].join(" ");
  };
  const report = (element, text, kind, box) => found.push({
    selector: name(element), text: text.trim().replace(/\s+/g, " ").slice(0, 80), kind,
    needed: Math.round(box[0] * 100) / 100, available: Math.round(box[1] * 100) / 100,
  });
  const inner = (box) => {
    const r = box.getBoundingClientRect();
    const left = r.left + box.clientLeft, top = r.top + box.clientTop;
    return { left, top, right: left + box.clientWidth, bottom: top + box.clientHeight };
  };
  const forScreenReaders = (style, box) =>
    style.clipPath.startsWith("inset(50%") || style.clip.startsWith("rect(") ||
    (style.overflow !== "visible" && (box.clientWidth <= 1 || box.clientHeight <= 1));

  // Why the text of `element`, which covers `area`, can't be read in full; null when it can.
  const problem = (element, area, line) => {
    let parent = null;  // the nearest box that is meant to hold the text
    for (let box = element; box && box !== document.documentElement; box = box.parentElement) {
      const style = getComputedStyle(box);
      if (style.display === "contents" || style.display === "inline") continue;
      if (forScreenReaders(style, box)) return null;
      const edge = inner(box);
      const beside = area.right - edge.right > SLACK_PX || edge.left - area.left > SLACK_PX;
      const widths = [Math.max(box.scrollWidth, area.right - area.left), box.clientWidth];
      const scrollsX = ["auto", "scroll"].includes(style.overflowX);
      const scrollsY = ["auto", "scroll"].includes(style.overflowY);
      if (scrollsX && box.matches(PAGE)) return beside ? ["the page scrolls sideways", widths] : null;
      if (scrollsX && beside) return null;
      if (style.textOverflow === "ellipsis" && style.overflowX !== "visible") {
        const { left, right } = box.getBoundingClientRect();
        if (area.right > right + ELLIPSIS_PX || box.scrollWidth > box.clientWidth + SLACK_PX)
          return ["cut with an ellipsis", [Math.max(area.width, box.scrollWidth), right - left]];
      }
      if (["hidden", "clip"].includes(style.overflowX) && beside) return ["cut at the side", widths];
      const below = Math.max(area.bottom - edge.bottom, edge.top - area.top);
      if (["hidden", "clip"].includes(style.overflowY) && below > line * LINE_SLACK)
        return ["cut in height", [Math.max(box.scrollHeight, area.bottom - area.top), box.clientHeight]];
      if (!parent) {
        parent = box;
        if (beside) return ["spills over its box", widths];
      }
      if (scrollsY && below > 0) return null;
    }
    return null;
  };

  for (const element of document.querySelectorAll("body *")) {
    if (element.closest(BY_DESIGN)) continue;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(element);

    if (["input", "textarea"].includes(element.localName)) {
      // What a person typed scrolls by design; a placeholder or a chosen option does not.
      const chosen = element.getAttribute("role") === "combobox" || element.readOnly;
      const text = element.value ? (chosen ? element.value : "") : element.placeholder;
      if (!text || element.clientWidth <= 1 || ["range", "checkbox", "radio", "file"].includes(element.type)) continue;
      const pen = document.createElement("canvas").getContext("2d");
      pen.font = style.font;
      const needed = pen.measureText(text).width;
      const available = element.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
      const wraps = element.localName === "textarea";
      const lines = wraps ? Math.max(1, Math.floor(element.clientHeight / parseFloat(style.lineHeight))) : 1;
      if (needed > available * lines + SLACK_PX) report(element, text, "does not fit its field", [needed, available]);
      continue;
    }

    for (const node of element.childNodes) {
      if (node.nodeType !== Node.TEXT_NODE || !node.textContent.trim()) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const area = range.getBoundingClientRect();
      if (area.width === 0 || area.height === 0) continue;
      const line = range.getClientRects()[0].height;
      const found = problem(element, area, line);
      if (found) { report(element, node.textContent, ...found); break; }
    }
  }
  return found;
}
"""
"""Lists the visible text that is cut, spills over its box or makes the page scroll sideways."""


def cut_text(page: Page) -> list[dict[str, Any]]:
    """Return what does not fit on `page`: selector, text, kind, and the pixels it needs and has."""
    found: list[dict[str, Any]] = page.evaluate(CUT_TEXT)
    return found


def show_whole(page: Page, width: int) -> None:
    """Make the window as tall as the content: Streamlit scrolls inside a box, whose rest no screenshot shows."""
    height = 800
    page.set_viewport_size({"width": width, "height": height})
    for _ in range(5):
        wait_until_drawn(page)
        hidden = page.evaluate(HIDDEN_HEIGHT)
        if hidden <= 0 or height >= TALLEST_PX:
            return
        height = min(height + hidden, TALLEST_PX)
        page.set_viewport_size({"width": width, "height": height})


def save(page: Page, path: Path) -> None:
    """Write what `page` shows as a PNG of 256 colours, those of a few points in a chart included."""
    image = Image.open(BytesIO(page.screenshot(animations="disabled", caret="hide"))).convert("RGB")
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


def store_examples(data_dir: Path) -> dict[str, dict[str, str]]:
    """Store what the entries page is to show; return, by language, what stands for names in the paths."""
    hostile = store_hostile(sqlite(data_dir, "shared:hostile"), with_big=True)["markdown"]
    names: dict[str, dict[str, str]] = {}
    for locale, prompts in PROMPTS.items():
        language = locale[:2]
        store_some(sqlite(data_dir, f"shared:{language}"), language)
        entry = store(json_files(data_dir, f"shared:{language}"), prompts[0], ANSWERS[language])
        names[locale] = {"language": language, "entry": entry, "hostile": hostile}
    return names


def take(browser: Browser, url: str, subject: Subject, theme: str, language: str, path: str) -> Iterator[str]:
    """Photograph `subject` in every width; yield a line for each text that does not fit."""
    context = recorded_context(browser, color_scheme=theme, locale=language, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    open_page(page, url + path)
    for prompt in PROMPTS[language] if subject.asks else ():
        ask(page, prompt)
        wait_for_answer(page)
    if subject.compares:
        by_key(page, "compare_run").get_by_role("button").click()
        by_key(page, "compare_table").wait_for(timeout=COMPARED_MS)
    for key in subject.opens:
        by_key(page, key).locator("summary").click()
        wait_until_drawn(page)
    for width in WIDTHS:
        show_whole(page, width)
        expect_no_exception(page)
        name = f"{subject.name}-{theme}-{language}-{width}.png"
        save(page, FOLDER / name)
        for cut in cut_text(page):
            yield "{}: {selector}: “{text}” {kind} (needs {needed}, has {available} px)".format(name, **cut)
    context.close()


def main(words: Sequence[str] = ()) -> int:
    """Take every screenshot, or those whose name has one of the words; return 0, or 1 when some text does not fit."""
    path = find_chromium()
    if path is None:
        print(NO_CHROMIUM)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    cut: list[str] = []
    subjects = [one for one in SUBJECTS if not words or any(word in one.name for word in words)]
    with tempfile.TemporaryDirectory() as folder, launched_chromium(path) as browser:
        server = AppServer(Path(folder), config=MODEL)
        try:
            names = store_examples(server.data_dir)
            server.start()
            for subject, theme, language in product(subjects, THEMES, PROMPTS):
                cut += take(browser, server.url, subject, theme, language, subject.path.format(**names[language]))
        except Exception:
            print(server.log[-4000:])
            raise
        finally:
            server.stop()
    taken = len(subjects) * len(THEMES) * len(PROMPTS) * len(WIDTHS)
    print("\n".join(cut) or f"{taken} screenshots, and all text fits")
    return 1 if cut else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
