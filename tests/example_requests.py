"""A request of every endpoint that Kling would take: as short as may be, and as full as may be combined.

``EXAMPLES`` has a row for every endpoint of the table; ``FULL`` for those that take more than the shortest.
Both pass ``check_request`` in strict mode, with the default model of the endpoint where none is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PICTURE = "https://media.example/boat.png"
OTHER_PICTURE = "https://media.example/harbour.jpg"
MASK = "https://media.example/mask.png"
VIDEO = "https://media.example/boat.mp4"
SOUND = "https://media.example/voice.mp3"
CALLBACK = "https://hooks.example/kling"

_SHARED: Mapping[str, Any] = {"callback_url": CALLBACK, "external_task_id": "order-17"}
_WATERMARKED: Mapping[str, Any] = {**_SHARED, "watermark_info": {"enabled": True}}
_SHOTS = [
    {"index": 1, "prompt": "a boat leaves", "duration": "2"},
    {"index": 2, "prompt": "a boat comes home", "duration": "3"},
]
_FACE: Mapping[str, Any] = {
    "face_id": "0",
    "sound_file": SOUND,
    "sound_start_time": 0,
    "sound_end_time": 3000,
    "sound_insert_time": 500,
}
_DAY = {"start_time": "1790000000000", "end_time": "1790086400000"}


def _frames(*kinds: str) -> list[dict[str, Any]]:
    return [{"type": kind, "url": PICTURE} for kind in kinds]


def _words(text: str = "the boat leaves") -> dict[str, Any]:
    return {"type": "prompt", "text": text}


#: The shortest request of every endpoint.
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "text2video": {"prompt": "a boat at sea"},
    "image2video": {"image": PICTURE},
    "multi-image2video": {"image_list": [{"image": PICTURE}], "prompt": "a boat at sea"},
    "omni-video": {"prompt": "a boat at sea", "aspect_ratio": "16:9"},
    "motion-control": {
        "image_url": PICTURE,
        "video_url": VIDEO,
        "character_orientation": "image",
        "mode": "std",
    },
    "video-extend": {"video_id": "867283743071928320"},
    "effects": {"effect_scene": "squish", "input": {"image": PICTURE}},
    "avatar": {"image": PICTURE, "sound_file": SOUND},
    "identify-face": {"video_url": VIDEO},
    "advanced-lip-sync": {"session_id": "s-1", "face_choose": [dict(_FACE)]},
    "lip-sync": {
        "input": {"video_url": VIDEO, "mode": "audio2video", "audio_type": "url", "audio_url": SOUND},
    },
    "multi-elements/init-selection": {"video_url": VIDEO},
    "multi-elements/add-selection": {
        "session_id": "s-1",
        "frame_index": 0,
        "points": [{"x": 0.5, "y": 0.25}],
    },
    "multi-elements/delete-selection": {
        "session_id": "s-1",
        "frame_index": 0,
        "points": [{"x": 0.5, "y": 0.25}],
    },
    "multi-elements/clear-selection": {"session_id": "s-1"},
    "multi-elements/preview-selection": {"session_id": "s-1"},
    "multi-elements": {"session_id": "s-1", "edit_mode": "removal", "prompt": "take the boat away"},
    "image-recognize": {"image": PICTURE},
    "text-to-audio": {"prompt": "waves", "duration": 5.0},
    "video-to-audio": {"video_url": VIDEO},
    "tts": {"text": "Ship ahoy", "voice_id": "v-1", "voice_language": "en"},
    "images/generations": {"prompt": "a boat at sea"},
    "images/omni-image": {"prompt": "a boat at sea"},
    "images/multi-image2image": {"subject_image_list": [{"subject_image": PICTURE}]},
    "images/editing/expand": {
        "image": PICTURE,
        "up_expansion_ratio": 0.1,
        "down_expansion_ratio": 0.1,
        "left_expansion_ratio": 0.2,
        "right_expansion_ratio": 0.2,
    },
    "kolors-virtual-try-on": {"human_image": PICTURE, "cloth_image": OTHER_PICTURE},
    "ai-multi-shot": {"element_frontal_image": PICTURE},
    "advanced-custom-elements": {
        "element_name": "boat",
        "element_description": "a small red boat",
        "reference_type": "image_refer",
        "element_image_list": {"frontal_image": PICTURE, "refer_images": [{"image_url": OTHER_PICTURE}]},
    },
    "advanced-presets-elements": {},
    "delete-elements": {"element_id": "160"},
    "custom-voices": {"voice_name": "captain", "voice_url": SOUND},
    "presets-voices": {},
    "delete-voices": {"voice_id": "v-1"},
    "text-to-video/kling-3.0-turbo": {"prompt": "a boat at sea"},
    "text-to-video/kling-3.0": {"prompt": "a boat at sea"},
    "text-to-video/kling-2.6": {"prompt": "a boat at sea"},
    "text-to-video/kling-2.5-turbo": {"prompt": "a boat at sea"},
    "image-to-video/kling-3.0-turbo": {"contents": _frames("first_frame")},
    "image-to-video/kling-3.0": {"contents": _frames("first_frame")},
    "image-to-video/kling-2.6": {"contents": _frames("first_frame")},
    "image-to-video/kling-2.5-turbo": {"contents": _frames("first_frame")},
    "omni-video/kling-3.0-omni": {"contents": [_words()], "settings": {"aspect_ratio": "16:9"}},
    "omni-video/kling-o1": {"contents": [_words()], "settings": {"aspect_ratio": "16:9"}},
    "motion-control/kling-3.0": {
        "contents": [*_frames("image"), {"type": "video", "url": VIDEO}],
        "settings": {"character_orientation": "image"},
    },
    "motion-control/kling-2.6": {
        "contents": [*_frames("image"), {"type": "video", "url": VIDEO}],
        "settings": {"character_orientation": "image"},
    },
    "account/costs": {"start_time": 1790000000000, "end_time": 1790086400000},
    "account/billing/package": {},
    "account/billing/balance": {},
    "tasks": {},
}

_OPTIONS: Mapping[str, Any] = {**_WATERMARKED}
_POINTS = [{"x": 0.5, "y": 0.25}, {"x": 0.75, "y": 1}]

#: As many fields as go together.
FULL: Mapping[str, Mapping[str, Any]] = {
    "text2video": {
        "model_name": "kling-v3",
        "multi_shot": True,
        "shot_type": "customize",
        "multi_prompt": _SHOTS,
        "negative_prompt": "rain",
        "sound": "on",
        "cfg_scale": 0.5,
        "mode": "4k",
        "aspect_ratio": "9:16",
        "duration": "5",
        **_WATERMARKED,
    },
    "image2video": {
        "model_name": "kling-v3",
        "image": PICTURE,
        "image_tail": OTHER_PICTURE,
        "prompt": "the boat of <<<element_1>>> leaves",
        "negative_prompt": "rain",
        "element_list": [{"element_id": 160}],
        "sound": "on",
        "cfg_scale": 0.5,
        "mode": "pro",
        "duration": "15",
        **_WATERMARKED,
    },
    "multi-image2video": {
        "model_name": "kling-v1-6",
        "image_list": [{"image": PICTURE}, {"image": OTHER_PICTURE}, {"image": PICTURE}, {"image": PICTURE}],
        "prompt": "a boat at sea",
        "negative_prompt": "rain",
        "mode": "pro",
        "duration": "10",
        "aspect_ratio": "1:1",
        **_WATERMARKED,
    },
    "omni-video": {
        "model_name": "kling-v3-omni",
        "prompt": "<<<image_1>>> meets <<<element_1>>> as in <<<video_1>>>",
        "image_list": [{"image_url": PICTURE, "type": "first_frame"}, {"image_url": OTHER_PICTURE}],
        "element_list": [{"element_id": 160}, {"element_id": 161}],
        "video_list": [{"video_url": VIDEO, "refer_type": "feature", "keep_original_sound": "yes"}],
        "sound": "off",
        "mode": "pro",
        "aspect_ratio": "16:9",
        "duration": "7",
        **_WATERMARKED,
    },
    "motion-control": {
        "model_name": "kling-v3",
        "prompt": "a dance",
        "image_url": PICTURE,
        "video_url": VIDEO,
        "element_list": [{"element_id": 160}],
        "keep_original_sound": "no",
        "character_orientation": "video",
        "mode": "pro",
        **_WATERMARKED,
    },
    "video-extend": {
        "video_id": "867283743071928320",
        "prompt": "it goes on",
        "negative_prompt": "rain",
        "cfg_scale": 0.5,
        **_WATERMARKED,
    },
    "effects": {
        "effect_scene": "heart_gesture",
        "input": {
            "images": [PICTURE, OTHER_PICTURE],
            "model_name": "kling-v1-6",
            "mode": "pro",
            "duration": "10",
        },
        **_WATERMARKED,
    },
    "avatar": {"image": PICTURE, "audio_id": "a-1", "prompt": "friendly", "mode": "pro", **_WATERMARKED},
    "advanced-lip-sync": {
        "session_id": "s-1",
        "face_choose": [{**_FACE, "sound_volume": 1.5, "original_audio_volume": 0}],
        **_WATERMARKED,
    },
    "lip-sync": {
        "input": {
            "video_id": "867283743071928320",
            "mode": "text2video",
            "text": "Ship ahoy",
            "voice_id": "v-1",
            "voice_language": "en",
            "voice_speed": 1.2,
        },
        "callback_url": CALLBACK,
    },
    "multi-elements/add-selection": {"session_id": "s-1", "frame_index": 7, "points": _POINTS},
    "multi-elements/delete-selection": {"session_id": "s-1", "frame_index": 7, "points": _POINTS},
    "multi-elements": {
        "model_name": "kling-v1-6",
        "session_id": "s-1",
        "edit_mode": "addition",
        "image_list": [{"image": PICTURE}, {"image": OTHER_PICTURE}],
        "prompt": "put <<<image_1>>> beside the boat",
        "negative_prompt": "rain",
        "mode": "pro",
        "duration": "10",
        **_WATERMARKED,
    },
    "text-to-audio": {"prompt": "waves", "duration": 9.5, **_SHARED},
    "video-to-audio": {
        "video_id": "867283743071928320",
        "sound_effect_prompt": "waves",
        "bgm_prompt": "a shanty",
        "asmr_mode": True,
        **_SHARED,
    },
    "tts": {"text": "Ship ahoy", "voice_id": "v-1", "voice_language": "zh", "voice_speed": 0.8},
    "images/generations": {
        "model_name": "kling-v2-1",
        "prompt": "a boat at sea",
        "image": PICTURE,
        "image_reference": "subject",
        "image_fidelity": 0.5,
        "human_fidelity": 0.45,
        "resolution": "2k",
        "n": 9,
        "aspect_ratio": "21:9",
        **_WATERMARKED,
    },
    "images/omni-image": {
        "model_name": "kling-v3-omni",
        "prompt": "<<<image_1>>> at sea",
        "image_list": [{"image": PICTURE}],
        "element_list": [{"element_id": 160}],
        "resolution": "4k",
        "result_type": "series",
        "series_amount": "auto",
        "aspect_ratio": "auto",
        **_WATERMARKED,
    },
    "images/multi-image2image": {
        "model_name": "kling-v2-1",
        "prompt": "a boat at sea",
        "subject_image_list": [{"subject_image": PICTURE}, {"subject_image": OTHER_PICTURE}],
        "scene_image": PICTURE,
        "style_image": OTHER_PICTURE,
        "n": 2,
        "aspect_ratio": "3:2",
        **_WATERMARKED,
    },
    "images/editing/expand": {
        "image": PICTURE,
        "up_expansion_ratio": 0,
        "down_expansion_ratio": 0.5,
        "left_expansion_ratio": 0.5,
        "right_expansion_ratio": 0.5,
        "prompt": "more sea",
        "n": 3,
        **_WATERMARKED,
    },
    "kolors-virtual-try-on": {
        "model_name": "kolors-virtual-try-on-v1-5",
        "human_image": PICTURE,
        "cloth_image": OTHER_PICTURE,
        **_SHARED,
    },
    "ai-multi-shot": {"element_frontal_image": PICTURE, **_SHARED},
    "advanced-custom-elements": {
        "element_name": "captain",
        "element_description": "an old captain",
        "reference_type": "video_refer",
        "element_video_list": {"refer_videos": [{"video_url": VIDEO}]},
        "element_voice_id": "v-1",
        "tag_list": [{"tag_id": "o_102"}, {"tag_id": "o_108"}],
        **_SHARED,
    },
    "custom-voices": {"voice_name": "captain", "video_id": "867283743071928320", **_SHARED},
    "text-to-video/kling-3.0-turbo": {
        "prompt": "a boat at sea",
        "settings": {"resolution": "1080p", "aspect_ratio": "9:16", "duration": 15},
        "options": _OPTIONS,
    },
    "text-to-video/kling-3.0": {
        "prompt": "shot 1, 2, a boat leaves; shot 2, 3, a boat comes home",
        "settings": {
            "resolution": "4k",
            "aspect_ratio": "1:1",
            "duration": 5,
            "audio": "native",
            "multi_shot": True,
        },
        "options": _OPTIONS,
    },
    "text-to-video/kling-2.6": {
        "prompt": "a boat at sea",
        "settings": {"resolution": "1080p", "aspect_ratio": "9:16", "duration": 10, "audio": "native"},
        "options": _OPTIONS,
    },
    "text-to-video/kling-2.5-turbo": {
        "prompt": "a boat at sea",
        "settings": {"resolution": "1080p", "aspect_ratio": "9:16", "duration": 10},
        "options": _OPTIONS,
    },
    "image-to-video/kling-3.0-turbo": {
        "contents": [_words(), *_frames("first_frame")],
        "settings": {"resolution": "1080p", "duration": 3},
        "options": _OPTIONS,
    },
    "image-to-video/kling-3.0": {
        "contents": [
            _words("@captain leaves"),
            *_frames("first_frame", "last_frame"),
            {"type": "element", "element_id": 160, "id": "captain"},
        ],
        "settings": {"resolution": "4k", "duration": 15, "audio": "native", "multi_shot": False},
        "options": _OPTIONS,
    },
    "image-to-video/kling-2.6": {
        "contents": [
            _words("@captain speaks"),
            *_frames("first_frame"),
            {"type": "voice", "voice_id": "v-1", "id": "captain"},
        ],
        "settings": {"resolution": "1080p", "duration": 10, "audio": "native"},
        "options": _OPTIONS,
    },
    "image-to-video/kling-2.5-turbo": {
        "contents": [_words(), *_frames("first_frame", "last_frame")],
        "settings": {"resolution": "1080p", "duration": 10},
        "options": _OPTIONS,
    },
    "omni-video/kling-3.0-omni": {
        "contents": [
            _words("@captain as in @dance"),
            *_frames("first_frame", "last_frame", "refer_image"),
            {"type": "feature_video", "url": VIDEO, "id": "dance"},
            {"type": "element", "element_id": 160, "id": "captain"},
        ],
        "settings": {
            "resolution": "1080p",
            "aspect_ratio": "16:9",
            "duration": 15,
            "audio": "off",
            "multi_shot": False,
        },
        "options": _OPTIONS,
    },
    "omni-video/kling-o1": {
        "contents": [_words(), *_frames("refer_image"), {"type": "base_video", "url": VIDEO}],
        "settings": {"resolution": "1080p", "duration": 7, "audio": "original"},
        "options": _OPTIONS,
    },
    "motion-control/kling-3.0": {
        "contents": [
            _words("a dance"),
            *_frames("image"),
            {"type": "video", "url": VIDEO},
            {"type": "element", "element_id": 160},
        ],
        "settings": {"resolution": "1080p", "character_orientation": "video", "audio": "original"},
        "options": _OPTIONS,
    },
    "motion-control/kling-2.6": {
        "contents": [_words("a dance"), *_frames("image"), {"type": "video", "url": VIDEO}],
        "settings": {"resolution": "1080p", "character_orientation": "video", "audio": "off"},
        "options": _OPTIONS,
    },
    "account/billing/package": {
        **_DAY,
        "cursor": "c-2",
        "limit": 500,
        "filters": [{"key": "product_type", "values": ["video"]}],
    },
    "account/billing/balance": {
        **_DAY,
        "cursor": "c-2",
        "limit": 1,
        "filters": [{"key": "product_type", "values": ["video"]}],
    },
    "tasks": {
        **_DAY,
        "cursor": "c-2",
        "limit": 500,
        "filters": [
            {"key": "status", "values": ["succeeded", "failed"]},
            {"key": "product_type", "values": ["video", "image", "try_on"]},
        ],
    },
}
