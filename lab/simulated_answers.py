"""What the simulated model says: sensible about the samples, plausible about anything else, new at every call."""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "pt"]

# Without words that both languages have: "a", "as", "no", "do", "me", "for".
_PORTUGUESE = re.compile(
    r"\b(?:quem|foi|qual|quais|como|porque|por|que|onde|quando|o|os|um|uma|de|da|dos|das|em|na|nos|nas|e|é|são|isso|"
    r"fale|sobre|explique|resuma|resumo|escreva|conte|diga|faça|liste|traduza|compare|para|com|você|pode|meu|minha|seu|"
    r"sua|mais|não|bom|boa|dia|olá|obrigado)\b"
)
_ENGLISH = re.compile(
    r"\b(?:who|was|what|which|how|why|where|when|the|an|of|in|on|and|is|are|were|tell|about|explain|summari[sz]e|write|"
    r"say|with|you|can|my|your|more|not|does|did|give|make|list|name|translate|compare|to|it|if|hello|please|thanks)\b"
)
_ACCENTED = re.compile("[ãõçáéíóúâêô]")


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody the samples ask about. `facts` holds, for each language, sentences of which some are told."""

    pattern: str
    opening: dict[Language, tuple[str, ...]]
    facts: dict[Language, tuple[str, ...]]


SUBJECTS = (
    Subject(
        r"\bsagan\b",
        {
            "en": (
                "Carl Sagan (1934–1996) was an American astronomer, planetary scientist and writer.",
                "Carl Sagan was the American astronomer who brought the cosmos into living rooms.",
                "An astronomer by profession and a storyteller by gift: that was Carl Sagan (1934–1996).",
            ),
            "pt": (
                "Carl Sagan (1934–1996) foi um astrônomo, cientista planetário e escritor norte-americano.",
                "Carl Sagan foi o astrônomo norte-americano que levou o cosmos para dentro das casas.",
                "Astrônomo de profissão e contador de histórias por talento: esse foi Carl Sagan (1934–1996).",
            ),
        },
        {
            "en": (
                "His 1980 television series Cosmos was seen in some sixty countries.",
                "He worked on the Mariner, Viking and Voyager missions.",
                "With Frank Drake and others he put together the Golden Record that the Voyager probes carry.",
                "He won the Pulitzer Prize for The Dragons of Eden.",
                "It was at his request that Voyager 1 took the picture known as the Pale Blue Dot.",
                "His novel Contact became a film in 1997.",
            ),
            "pt": (
                "Sua série de televisão Cosmos, de 1980, foi vista em cerca de sessenta países.",
                "Trabalhou nas missões Mariner, Viking e Voyager.",
                "Com Frank Drake e outros, montou o Disco de Ouro que as sondas Voyager carregam.",
                "Ganhou o Prêmio Pulitzer por Os Dragões do Éden.",
                "Foi a pedido dele que a Voyager 1 fez a foto conhecida como Pálido Ponto Azul.",
                "Seu romance Contato virou filme em 1997.",
            ),
        },
    ),
    Subject(
        r"\barmstrong\b",
        {
            "en": (
                "Neil Armstrong (1930–2012) was an American astronaut and the first person to walk on the Moon.",
                "On 20 July 1969 Neil Armstrong became the first human being to set foot on the Moon.",
                "Neil Armstrong was the test pilot and astronaut who commanded Apollo 11.",
            ),
            "pt": (
                "Neil Armstrong (1930–2012) foi um astronauta norte-americano e a primeira pessoa a andar na Lua.",
                "Em 20 de julho de 1969, Neil Armstrong tornou-se o primeiro ser humano a pisar na Lua.",
                "Neil Armstrong foi o piloto de testes e astronauta que comandou a Apollo 11.",
            ),
        },
        {
            "en": (
                "He flew 78 combat missions in the Korean War as a naval aviator.",
                "In 1966 he commanded Gemini 8, which made the first docking of two spacecraft in orbit.",
                "Before that he flew the X-15 rocket plane.",
                "He landed the lunar module Eagle with Buzz Aldrin while Michael Collins stayed in orbit.",
                "Later he taught aerospace engineering at the University of Cincinnati.",
            ),
            "pt": (
                "Voou 78 missões de combate na Guerra da Coreia como aviador naval.",
                "Em 1966 comandou a Gemini 8, que fez o primeiro acoplamento de duas naves em órbita.",
                "Antes disso pilotou o avião-foguete X-15.",
                "Pousou o módulo lunar Eagle com Buzz Aldrin, enquanto Michael Collins ficou em órbita.",
                "Mais tarde ensinou engenharia aeroespacial na Universidade de Cincinnati.",
            ),
        },
    ),
    Subject(
        r"\btyson\b",
        {
            "en": (
                "Neil deGrasse Tyson (born 1958) is an American astrophysicist and science communicator.",
                "Neil deGrasse Tyson is the astrophysicist who directs the Hayden Planetarium in New York.",
                "Born in New York in 1958, Neil deGrasse Tyson is one of today's best known astrophysicists.",
            ),
            "pt": (
                "Neil deGrasse Tyson (nascido em 1958) é um astrofísico e divulgador científico norte-americano.",
                "Neil deGrasse Tyson é o astrofísico que dirige o Planetário Hayden, em Nova York.",
                "Nascido em Nova York em 1958, Neil deGrasse Tyson é um dos astrofísicos mais conhecidos de hoje.",
            ),
        },
        {
            "en": (
                "He has directed the Hayden Planetarium since 1996.",
                "In 2014 he presented Cosmos: A Spacetime Odyssey, which continues Carl Sagan's series.",
                "His radio show and podcast is called StarTalk.",
                "Among his books is Astrophysics for People in a Hurry.",
                "As a young man he met Carl Sagan, who invited him to Cornell.",
            ),
            "pt": (
                "Dirige o Planetário Hayden desde 1996.",
                "Em 2014 apresentou Cosmos: Uma Odisseia do Espaço-Tempo, que continua a série de Carl Sagan.",
                "Seu programa de rádio e podcast chama-se StarTalk.",
                "Entre seus livros está Astrofísica para Apressados.",
                "Quando jovem conheceu Carl Sagan, que o convidou para ir a Cornell.",
            ),
        },
    ),
)

OPENINGS: dict[Language, tuple[str, ...]] = {
    "en": (
        "A short answer to “{prompt}” begins with what is already known.",
        "There is more than one way to look at “{prompt}”.",
        "Taken step by step, “{prompt}” is easier than it seems.",
    ),
    "pt": (
        "Uma resposta curta a “{prompt}” começa pelo que já se sabe.",
        "Há mais de uma maneira de olhar para “{prompt}”.",
        "Vista passo a passo, a questão “{prompt}” é mais simples do que parece.",
    ),
}
FILLERS: dict[Language, tuple[str, ...]] = {
    "en": (
        "First, it helps to say what is being asked and what would count as an answer.",
        "Next come the facts that everybody agrees on, and after them the open questions.",
        "A concrete example usually shows more than a definition does.",
        "Numbers should be given with their source, and guesses should be called guesses.",
        "What matters in the end is what one would do differently, knowing the answer.",
        "A real model would go into the details here.",
    ),
    "pt": (
        "Primeiro, convém dizer o que se pergunta e o que valeria como resposta.",
        "Depois vêm os fatos em que todos concordam e, em seguida, as questões em aberto.",
        "Um exemplo concreto costuma mostrar mais do que uma definição.",
        "Números devem vir com a fonte, e palpites devem ser chamados de palpites.",
        "No fim, importa o que se faria de outro modo sabendo a resposta.",
        "Um modelo de verdade entraria aqui nos detalhes.",
    ),
}
SIGNATURE: dict[Language, str] = {
    "en": "(Simulated answer {number}: no model was asked.)",
    "pt": "(Resposta simulada {number}: nenhum modelo foi consultado.)",
}
TOLD = 3
QUOTED_LENGTH = 60


def write_answer(prompt: str, rng: random.Random) -> str:
    """An answer in the prompt's language, worded anew at every call and marked as simulated."""
    language = guess_language(prompt)
    subject = _subject(prompt)
    if subject is not None:
        opening, facts = rng.choice(subject.opening[language]), subject.facts[language]
    else:
        opening = rng.choice(OPENINGS[language]).format(prompt=_quoted(prompt))
        facts = FILLERS[language]
    sentences = [opening, *rng.sample(facts, TOLD)]
    return " ".join(sentences) + "\n\n" + SIGNATURE[language].format(number=f"{rng.randrange(16**6):06x}")


def guess_language(text: str) -> Language:
    """Portuguese or English, by the commonest words of both and by Portuguese accents."""
    lowered = text.lower()
    portuguese = len(_PORTUGUESE.findall(lowered)) + 2 * bool(_ACCENTED.search(lowered))
    english = len(_ENGLISH.findall(lowered))
    return "pt" if portuguese > english else "en"


def _subject(prompt: str) -> Subject | None:
    plain = unicodedata.normalize("NFKD", prompt.casefold())
    named = [subject for subject in SUBJECTS if re.search(subject.pattern, plain)]
    return named[0] if len(named) == 1 else None


def _quoted(prompt: str) -> str:
    line = " ".join(prompt.replace("\0", " ").split())
    line = re.sub(r"[\[\]()<>*_`#|!$\\]", "", line)  # the quotation must not become markup
    return line if len(line) <= QUOTED_LENGTH else line[:QUOTED_LENGTH].rstrip() + "…"
