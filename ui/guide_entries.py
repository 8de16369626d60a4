"""The guide's words on the Entries page: what can be done there, and the index that finds and orders entries."""

from __future__ import annotations

import streamlit as st

from ui.guide_elements import detail, heading, prose
from ui.language import _
from ui.numbers import count


def show_entries_page() -> None:
    """What to find, read, change and move, and where the index lies."""
    heading(_("How to see, change and move it"), "entries")
    prose(
        _(
            "The Entries page lists what the caches of this app hold. LangChain's own can't be listed, but what its "
            "`SQLiteCache` holds can be copied into one that can."
        )
    )
    st.page_link("../pages/entries.py", label=_("Go to the entries"), icon=":material/table_rows:")
    prose(
        _(
            "- **Find**: by words, or how they begin, in prompts and answers; by model, state, age and size; in the "
            "order you choose.\n"
            "- **Read**: prompt and answer, parameters, times, and where it lies. Stored text is only ever shown as "
            "text: nothing in it is run.\n"
            "- **Why would this miss?** Change the prompt or a parameter of an entry, and see whether it would still "
            "be found, and if not, what makes the keys differ.\n"
            "- **Change**: pin an entry, so that it neither expires nor is evicted; give it another time to live; "
            "remove it, or all that match, all that have expired, or all of a namespace.\n"
            "- **Move**: download what matches as JSONL, a line for each entry, and import it into any cache of this "
            "app. The file of LangChain's `SQLiteCache` can be imported too. An upload may have up to {megabytes} MB."
        ).format(megabytes=count(st.get_option("server.maxUploadSize"))),
        _(
            "What finds and orders the entries of SQLite and JSON files is an index beside the store: "
            "`cache.db.browse` for `cache.db`, `browse-index.db` in the folder of JSON files. It holds the words of "
            "prompts and answers. It is made when somebody browses, never on the way of a lookup or store; until it is "
            "complete, the page says how many entries can be found so far, and shows those. It can be deleted at any "
            "time, and is made anew when somebody browses again."
        ),
    )
    detail(
        _(
            "Memory is looked through entry by entry; servers are searched by their own means. While others store, the "
            "counts beside the choices may be some seconds old."
        )
    )
