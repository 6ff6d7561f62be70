"""Which request model belongs to which endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from kling_provider.api.requests.parts import KlingRequest

#: Name of the endpoint -> module of its family and class.
_MODELS: Mapping[str, str] = {
    "text2video": "video.Text2VideoRequest",
    "image2video": "video.Image2VideoRequest",
    "multi-image2video": "video.MultiImage2VideoRequest",
    "omni-video": "omni.OmniVideoRequest",
    "motion-control": "motion.MotionControlRequest",
    "video-extend": "video.VideoExtendRequest",
    "effects": "effects.EffectsRequest",
    "avatar": "avatar.AvatarRequest",
    "identify-face": "lip_sync.IdentifyFaceRequest",
    "advanced-lip-sync": "lip_sync.AdvancedLipSyncRequest",
    "lip-sync": "lip_sync.LipSyncRequest",
    "multi-elements/init-selection": "multi_elements.InitSelectionRequest",
    "multi-elements/add-selection": "multi_elements.AddSelectionRequest",
    "multi-elements/delete-selection": "multi_elements.DeleteSelectionRequest",
    "multi-elements/clear-selection": "multi_elements.ClearSelectionRequest",
    "multi-elements/preview-selection": "multi_elements.PreviewSelectionRequest",
    "multi-elements": "multi_elements.MultiElementsRequest",
    "text-to-audio": "audio.TextToAudioRequest",
    "video-to-audio": "audio.VideoToAudioRequest",
    "tts": "audio.TtsRequest",
    "images/generations": "images.ImageGenerationRequest",
    "images/omni-image": "images.OmniImageRequest",
    "images/multi-image2image": "images.MultiImage2ImageRequest",
    "images/editing/expand": "images.ImageExpandRequest",
    "kolors-virtual-try-on": "images.VirtualTryOnRequest",
    "image-recognize": "images.ImageRecognizeRequest",
    "ai-multi-shot": "general.MultiShotRequest",
    "advanced-custom-elements": "general.CustomElementRequest",
    "delete-elements": "general.DeleteElementRequest",
    "custom-voices": "general.CustomVoiceRequest",
    "delete-voices": "general.DeleteVoiceRequest",
    "text-to-video/kling-3.0-turbo": "new_dialect.TextToVideo30TurboRequest",
    "text-to-video/kling-3.0": "new_dialect.TextToVideo30Request",
    "text-to-video/kling-2.6": "new_dialect.TextToVideo26Request",
    "text-to-video/kling-2.5-turbo": "new_dialect.TextToVideo25TurboRequest",
    "image-to-video/kling-3.0-turbo": "new_dialect.ImageToVideo30TurboRequest",
    "image-to-video/kling-3.0": "new_dialect.ImageToVideo30Request",
    "image-to-video/kling-2.6": "new_dialect.ImageToVideo26Request",
    "image-to-video/kling-2.5-turbo": "new_dialect.ImageToVideo25TurboRequest",
    "omni-video/kling-3.0-omni": "new_dialect.OmniVideo30OmniRequest",
    "omni-video/kling-o1": "new_dialect.OmniVideoO1Request",
    "motion-control/kling-3.0": "new_dialect.MotionControl30Request",
    "motion-control/kling-2.6": "new_dialect.MotionControl26Request",
    "account/billing/package": "accounts.BillingRequest",
    "account/billing/balance": "accounts.BillingRequest",
    "tasks": "accounts.TasksRequest",
}


class _Requests(Mapping[str, type[KlingRequest]]):
    """Imports a family when one of its models is asked for: a DAG file needs one or two of twelve."""

    def __getitem__(self, name: str) -> type[KlingRequest]:
        family, _, model = _MODELS[name].partition(".")
        found: type[KlingRequest] = getattr(import_module(f"kling_provider.api.requests.{family}"), model)
        return found

    def __contains__(self, name: object) -> bool:
        return name in _MODELS

    def __iter__(self) -> Iterator[str]:
        return iter(_MODELS)

    def __len__(self) -> int:
        return len(_MODELS)


REQUESTS: Mapping[str, type[KlingRequest]] = _Requests()
