"""Finds what overlaps on a page."""

from typing import Any


def covered(page: Any) -> list[str]:
    """Texts, controls and pictures that reach over another one, or out of the page."""
    return page.evaluate(
        """() => {
            const list = document.querySelector(".list")?.getBoundingClientRect();
            const boxes = [];
            const walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_ALL);
            for (let node = walk.nextNode(); node; node = walk.nextNode()) {
                const element = node.nodeType === 3 ? node.parentElement : node;
                const is = element.matches("button, select, input, canvas, img");
                if (element.closest("option, script, noscript, dialog") || !element.checkVisibility?.()) continue;
                if (node.nodeType === 3 ? is || !node.data.trim() : !is) continue;
                const range = document.createRange();
                range.selectNodeContents(node);
                const inList = element.closest(".list"); // which scrolls, and cuts long texts
                const words = node.nodeType === 3 && !inList;
                const lines = words ? range.getClientRects() : [element.getBoundingClientRect()];
                for (const box of lines) {
                    const scrolled = inList && (box.right > list.right || box.left < list.left
                        || box.bottom > list.bottom || box.top < list.top);
                    if (box.width && !scrolled) boxes.push([node.data || node.name || node.className, box]);
                }
            }
            return boxes.flatMap(([name, one], k) => [
                ...(one.left < -1 || one.right > innerWidth + 1 ? [`${name} is cut`] : []),
                ...boxes.slice(0, k).filter(([, other]) =>
                    Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1
                    && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 3,
                ).map(([other]) => `${name} over ${other}`),
            ]);
        }"""
    )
