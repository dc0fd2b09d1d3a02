"""What a request for an avatar must look like in Kling's dialect: seven fields, a face and a
voice."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from local.simulator.media import Medium, UnreachableError
from local.simulator.provider import Provider

MB = 1024 * 1024
IMAGES = ("image/jpeg", "image/png")
SOUNDS = ("audio/mpeg", "audio/wav", "audio/mp4", "audio/aac")
AUDIO_ID_DAYS = 30
# The id in the examples of the documentation; it stands for our sample voice.
EXAMPLE_AUDIO_ID = "825455158141661278"

NOT_BASE64 = "File is not in a valid base64 format"
TOO_SMALL = "Image pixel is invalid"
BAD_RATIO = (
    "The resolution or aspect ratio of the input image is invalid. Please ensure it meets the "
    "required specifications."
)


class Trouble(Exception):
    """A refusal by Kling's business code."""

    def __init__(self, why: str, code: int = 1201) -> None:
        super().__init__(why)
        self.code = code


class AvatarProvider(Provider):
    """What differs among those who take an avatar's request."""

    longest_voice = 300.0

    @property
    def prompt_required(self) -> bool:
        return False

    @property
    def blanks_refused(self) -> bool:
        """Whether "" is a value, and a wrong one, or the same as no value."""
        return False


@dataclass(frozen=True)
class AvatarRequest:
    """A request whose fields are in order; its files were not looked at yet."""

    image: str
    audio_id: str
    sound_file: str
    prompt: str
    mode: str
    callback_url: str
    external_id: str
    watermark: bool

    def media(self, provider: AvatarProvider) -> tuple[Medium, Medium, tuple[str, str] | None]:
        """Portrait, voice, and what is found wrong with the portrait only later."""
        portrait = _file(self.image, provider)
        if portrait.kind not in IMAGES:
            raise Trouble("The image format is invalid, only .jpg, .jpeg and .png are supported")
        if portrait.size > 10 * MB:
            raise Trouble("The image file size must not exceed 10MB")
        voice = (
            _spoken(self.audio_id, provider) if self.audio_id else _file(self.sound_file, provider)
        )
        if voice.kind not in SOUNDS or not voice.seconds:
            raise Trouble(
                "The audio format is invalid, only .mp3, .wav, .m4a and .aac are supported"
            )
        if voice.size > 5 * MB and not self.audio_id:
            raise Trouble("The audio file size must not exceed 5MB")
        if not 2 <= voice.seconds <= provider.longest_voice:
            raise Trouble(
                f"The audio duration must be between 2 and {provider.longest_voice:.0f} seconds"
            )
        return portrait, voice, _found_later(portrait)


def avatar_request(body: dict[str, Any], provider: AvatarProvider) -> AvatarRequest:
    """Trouble says which field is wrong."""
    names = (
        "image",
        "audio_id",
        "sound_file",
        "prompt",
        "mode",
        "callback_url",
        "external_task_id",
    )
    for name in names:
        if not isinstance(body.get(name) or "", str):
            raise Trouble(f"{name} must be a string")
        if provider.blanks_refused and body.get(name) == "":
            raise Trouble(f"{name} must not be empty")
    image, audio_id, sound_file, prompt, mode, callback, external = (
        body.get(name) or "" for name in names
    )
    if not image:
        raise Trouble("image is required")
    if bool(audio_id) == bool(sound_file):
        raise Trouble("exactly one of audio_id and sound_file must be given")
    if provider.prompt_required and not isinstance(body.get("prompt"), str):
        raise Trouble("prompt is required", 400)
    if len(prompt) > 2500:
        raise Trouble("prompt must not exceed 2500 characters")
    if mode not in ("", "std", "pro"):
        raise Trouble("mode must be std or pro")
    watermark = _watermark(body.get("watermark_info"))
    return AvatarRequest(
        image, audio_id, sound_file, prompt, mode or "std", callback, external, watermark
    )


def _watermark(given: Any) -> bool:
    """Kling's table says array, its own answer and the newer documentation an object: both are
    taken."""
    if given in (None, "", []):
        return False
    info = given[0] if isinstance(given, list) else given
    if not isinstance(info, dict) or not isinstance(info.get("enabled", False), bool):
        raise Trouble('watermark_info must be {"enabled": true} or {"enabled": false}')
    return bool(info.get("enabled", False))


def _file(given: str, provider: AvatarProvider) -> Medium:
    """A URL is fetched, anything else is base64 without a prefix."""
    library = provider.engine.library
    if given == "example" and provider.name == "comet":
        return library.sample("portrait.png")  # the value in CometAPI's own example request
    if not given.startswith(("http://", "https://")):
        try:
            return library.keep(base64.b64decode(given, validate=True))
        except (binascii.Error, ValueError):
            raise Trouble(NOT_BASE64) from None
    try:
        return library.fetch(given)
    except UnreachableError:
        raise Trouble(NOT_BASE64) from None  # sic: also what a URL gets that could not be read


def _spoken(audio_id: str, provider: AvatarProvider) -> Medium:
    if audio_id == EXAMPLE_AUDIO_ID:
        return provider.engine.library.sample("voice.mp3")
    spoken = provider.engine.book.get("speech", audio_id)
    age = provider.engine.clock.now() - (spoken["created"] if spoken else 0)
    if spoken is None or spoken["provider"] != provider.name or age > AUDIO_ID_DAYS * 86_400:
        raise Trouble(f"audio_id does not exist or has expired: {audio_id}")
    return provider.engine.library.keep(provider.engine.library.path(spoken["file"]).read_bytes())


def _found_later(portrait: Medium) -> tuple[str, str] | None:
    """Accepted at create, failed a minute or two later: so it was seen in the field."""
    width, height = portrait.width, portrait.height
    if min(width, height) < 300:
        return "", TOO_SMALL
    return None if 1 / 2.5 <= width / height <= 2.5 else ("", BAD_RATIO)
