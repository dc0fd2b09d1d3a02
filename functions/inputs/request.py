"""What a task request asks for: provider, model, prompt and settings, from files or from the API,
validated the same way before any money is spent."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from functions import providers
from functions.inputs import consent
from functions.inputs.refusals import Refusal, sentences
from functions.settings import options
from functions.tasks.task import Consent

AUTO = "auto"  # the model of a request that leaves the choice to us
# What stands beside a model's settings, in a settings file as in the API.
RESERVED = frozenset({"provider", "model", "prompt", "max_usd", "consent", "long_voice", "reuse"})
SPLIT, REFUSE = "split", "refuse"  # what becomes of a voice that no model takes in one piece

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_HALF_A_LETTER = re.compile("[\ud800-\udfff]")
_LARGEST, _DEEPEST = 10**38, 16


@dataclass(frozen=True)
class TaskRequest:
    """A provider that exists, one of its models or AUTO, a prompt made harmless, and the settings
    the model is to be given. `max_usd` is what the task may cost where it is not our own limit;
    `long_voice` what becomes of a voice that no model takes in one piece, and `reuse` whether its
    pieces may be videos that were made before."""

    provider: str
    model: str
    prompt: str
    settings: Mapping[str, object] = field(default_factory=dict)
    max_usd: Decimal | None = None
    consent: Consent = field(default_factory=Consent)
    long_voice: str = REFUSE
    reuse: bool = False

    @property
    def text(self) -> str:
        """What the provider is to speak, where no audio file is the voice."""
        return str(self.settings.get("text") or "")


class Refused(Exception):
    """What was asked for cannot be: `refusals` say which field, why, and the cure."""

    def __init__(self, *refusals: Refusal) -> None:
        super().__init__(sentences(refusals))
        self.refusals = list(refusals)


def parse(text: str, name: str) -> dict[str, object]:
    """A settings file. Raises Refused when it is not a JSON object."""
    try:
        settings = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        message = f"{name} is not JSON ({error}): mend or remove it"
        raise Refused(Refusal("BAD_SETTINGS", "settings", message)) from None
    if not isinstance(settings, dict):
        message = f'{name} must be a JSON object such as {{"model": "…"}}'
        raise Refused(Refusal("BAD_SETTINGS", "settings", message))
    return settings


def compose(flat: Mapping[str, object], prompt: str | None = None) -> TaskRequest:
    """A request from flat settings; what is not RESERVED belongs to the model. A `prompt` counts
    before the one among the settings. Raises Refused."""
    if not _can_be_kept(flat):
        cure = "numbers of at most 38 digits, no NaN, whole letters, and not deeply nested"
        message = f"the settings hold what cannot be kept: {cure}, please"
        raise Refused(Refusal("BAD_SETTINGS", "settings", message))
    provider = _provider(flat.get("provider"))
    model = _model(provider, flat.get("model"))
    text = flat.get("prompt", "") if prompt is None else prompt
    if not isinstance(text, str):
        raise Refused(Refusal("BAD_PROMPT", "prompt", "the prompt must be text"))
    agreed, refusal = consent.read(flat.get("consent"))
    if refusal:
        raise Refused(refusal)
    settings = {name: value for name, value in flat.items() if name not in RESERVED}
    if options().keep_watermark:
        settings = {**providers.get(provider).watermark_settings, **settings}
    max_usd, long_voice = _max_usd(flat.get("max_usd")), _long_voice(flat.get("long_voice"))
    reuse = _reuse(flat.get("reuse"))
    return TaskRequest(provider, model, clean(text), settings, max_usd, agreed, long_voice, reuse)


def _long_voice(value: object) -> str:
    word = options().long_voice if value is None else value
    if word not in (SPLIT, REFUSE):
        message = (
            f'long_voice is {json.dumps(value, default=str)[:60]}: it is "{SPLIT}" (a voice that '
            f'no model takes in one piece is cut, its videos joined) or "{REFUSE}"'
        )
        raise Refused(Refusal("BAD_LONG_VOICE", "long_voice", message))
    return str(word)


def _reuse(value: object) -> bool:
    word = options().reuse if value is None else value
    if not isinstance(word, bool):
        message = (
            f"reuse is {json.dumps(word, default=str)[:60]}: it is true (a piece of a long voice "
            "whose video was made before is not made again) or false"
        )
        raise Refused(Refusal("BAD_REUSE", "reuse", message))
    return word


def _provider(wanted: object) -> str:
    provider = str(wanted or options().default_provider)
    if provider not in providers.NAMES:
        known = ", ".join(providers.NAMES)
        message = f"there is no provider {provider!r}: use one of {known}"
        raise Refused(Refusal("UNKNOWN_PROVIDER", "provider", message))
    if provider not in (in_use := options().providers or providers.NAMES):
        message = f"{provider} is not in use here: name {' or '.join(in_use)}, or add it to "
        message += "`providers` in cdk.json and deploy"
        raise Refused(Refusal("PROVIDER_NOT_IN_USE", "provider", message))
    return provider


def _model(provider: str, wanted: object) -> str:
    model = str(wanted or options().default_models.get(provider) or AUTO)
    if model != AUTO and model not in providers.get(provider).models:
        known = ", ".join([AUTO, *providers.get(provider).models])
        message = f"{provider} has no model {model!r}: use one of {known}"
        raise Refused(Refusal("UNKNOWN_MODEL", "model", message))
    return model


def _max_usd(value: object) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal("NaN" if isinstance(value, bool) else str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 < amount <= 100_000:
        message = f"max_usd is {json.dumps(value, default=str)[:60]}: give an amount such as 25"
        raise Refused(Refusal("BAD_MAX_USD", "max_usd", message))
    return amount


def _can_be_kept(value: object, depth: int = 0) -> bool:
    """By the table: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Limits.html"""
    if isinstance(value, str):
        return not _HALF_A_LETTER.search(value)
    if isinstance(value, int):
        return abs(value) < _LARGEST
    if isinstance(value, float):
        return abs(value) < _LARGEST and (value == 0 or abs(value) > 1 / _LARGEST)  # NaN is neither
    inner = [*value, *value.values()] if isinstance(value, Mapping) else value
    if not isinstance(inner, list):
        return inner is None
    return depth < _DEEPEST and all(_can_be_kept(one, depth + 1) for one in inner)


def clean(prompt: str) -> str:
    """Composed letters, no control or direction-changing characters but the line break."""
    return _CONTROL.sub("", unicodedata.normalize("NFC", prompt)).strip()
