"""Pictures: from words, from pictures, larger ones, try-on, and what is in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kling_provider.operators.typed import KlingTypedOperator


class KlingImageOperator(KlingTypedOperator):
    """Make 1 to 9 pictures from words, and from a picture or elements (``images/generations``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``image_url`` of the first; all are in ``["images"]`` of what it returns.

    :param prompt: what the pictures show, up to 2500 characters. Required.
    :param model_name: ``kling-v3`` (default) or ``kling-v2-1``.
    :param negative_prompt: what they must not show, up to 2500 characters. Excludes ``image``.
    :param image: picture to start from: URL, object-storage URI or path; jpg or png, up to 10 MB, sides from
        300 pixels, ratio 1:2.5 to 2.5:1. Excludes ``negative_prompt``.
    :param image_reference: what to take from ``image``: ``subject``, or ``face`` (it has exactly one).
        Required beside ``image`` with kling-v2-1.
    :param image_fidelity: how closely to follow ``image``, 0 to 1 (default 0.5).
    :param human_fidelity: how closely to follow the face in it, 0 to 1 (default 0.45). For
        ``image_reference="subject"`` only.
    :param element_list: elements as ``{"element_id": 1}`` (kling-v3); at most 10 together with ``image``.
    :param resolution: ``1k`` (default) or ``2k``.
    :param n: how many pictures, 1 (default) to 9. Each is paid, and holds one of the account's image slots.
    :param aspect_ratio: ``16:9`` (Kling's default), ``9:16``, ``1:1``, ``4:3``, ``3:4``, ``3:2``, ``2:3`` or
        ``21:9``.
    :param watermark_info: ``{"enabled": true}`` to get watermarked copies too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "images/generations"

    def __init__(
        self,
        *,
        prompt: str | None = None,
        model_name: str | None = None,
        negative_prompt: str | None = None,
        image: str | None = None,
        image_reference: str | None = None,
        image_fidelity: float | str | None = None,
        human_fidelity: float | str | None = None,
        element_list: Sequence[Mapping[str, Any]] | str | None = None,
        resolution: str | None = None,
        n: int | str | None = None,
        aspect_ratio: str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingOmniImageOperator(KlingTypedOperator):
    """Make 1 to 9 pictures, or a series of them, from words and references (``images/omni-image``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``image_url`` of the first; all are in ``["images"]`` of what it returns.

    :param prompt: what the pictures show, up to 2500 characters; ``<<<image_1>>>`` stands for the first of
        ``image_list``. Required.
    :param model_name: ``kling-v3-omni`` (default) or ``kling-image-o1``.
    :param image_list: up to 10 of ``{"image": <picture>}``: URL, object-storage URI or path; jpg or png, up to
        10 MB, sides from 300 pixels, ratio 1:2.5 to 2.5:1. Pictures and elements: at most 10 together.
    :param element_list: elements as ``{"element_id": 1}``.
    :param resolution: ``1k`` (default), ``2k`` or ``4k`` (kling-v3-omni).
    :param result_type: ``single`` (default): ``n`` pictures of the same; ``series``: ``series_amount`` that belong
        together.
    :param n: how many, 1 (default) to 9; ignored for a series. Each is paid, and holds one of the account's image
        slots.
    :param series_amount: how many of a series, 2 to 9 (default 4), or ``auto``; ignored for ``single``.
    :param aspect_ratio: ``auto`` (Kling's default), ``16:9``, ``9:16``, ``1:1``, ``4:3``, ``3:4``, ``3:2``,
        ``2:3`` or ``21:9``.
    :param watermark_info: ``{"enabled": true}`` to get watermarked copies too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "images/omni-image"

    def __init__(
        self,
        *,
        prompt: str | None = None,
        model_name: str | None = None,
        image_list: Sequence[Mapping[str, Any]] | str | None = None,
        element_list: Sequence[Mapping[str, Any]] | str | None = None,
        resolution: str | None = None,
        result_type: str | None = None,
        n: int | str | None = None,
        series_amount: int | str | None = None,
        aspect_ratio: str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingMultiImageToImageOperator(KlingTypedOperator):
    """Make a picture from up to 4 subjects, a scene and a style (``images/multi-image2image``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``image_url`` of the first; all are in ``["images"]`` of what it returns.

    :param subject_image_list: 1 to 4 of ``{"subject_image": <picture>}``: URL, object-storage URI or path; jpg or
        png, up to 10 MB, sides from 300 pixels, ratio 1:2.5 to 2.5:1. Required.
    :param scene_image: picture of where they are, given likewise.
    :param style_image: picture of how it looks, given likewise.
    :param prompt: what the picture shows, up to 2500 characters.
    :param model_name: ``kling-v2-1`` (default); ``kling-v2`` is being retired.
    :param n: how many pictures, 1 (default) to 9. Each is paid, and holds one of the account's image slots.
    :param aspect_ratio: ``16:9`` (Kling's default), ``9:16``, ``1:1``, ``4:3``, ``3:4``, ``3:2``, ``2:3`` or
        ``21:9``.
    :param watermark_info: ``{"enabled": true}`` to get watermarked copies too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "images/multi-image2image"

    def __init__(
        self,
        *,
        subject_image_list: Sequence[Mapping[str, Any]] | str | None = None,
        scene_image: str | None = None,
        style_image: str | None = None,
        prompt: str | None = None,
        model_name: str | None = None,
        n: int | str | None = None,
        aspect_ratio: str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingImageExpandOperator(KlingTypedOperator):
    """Make a picture larger by painting more around it (``images/editing/expand``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``image_url`` of the first; all are in ``["images"]`` of what it returns.

    :param image: the picture: URL, object-storage URI or path; jpg or png, up to 10 MB, sides from 300 pixels,
        ratio 1:2.5 to 2.5:1. Required.
    :param up_expansion_ratio: how much is added above, as a share of the picture's height, 0 to 2. Required; the
        four together may make the area at most 3 times as large.
    :param down_expansion_ratio: how much is added below, as a share of the height, 0 to 2. Required.
    :param left_expansion_ratio: how much is added on the left, as a share of the width, 0 to 2. Required.
    :param right_expansion_ratio: how much is added on the right, as a share of the width, 0 to 2. Required.
    :param prompt: what is painted, up to 2500 characters.
    :param n: how many pictures, 1 (default) to 9. Each is paid, and holds one of the account's image slots.
    :param watermark_info: ``{"enabled": true}`` to get watermarked copies too.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "images/editing/expand"

    def __init__(
        self,
        *,
        image: str | None = None,
        up_expansion_ratio: float | str | None = None,
        down_expansion_ratio: float | str | None = None,
        left_expansion_ratio: float | str | None = None,
        right_expansion_ratio: float | str | None = None,
        prompt: str | None = None,
        n: int | str | None = None,
        watermark_info: Mapping[str, Any] | str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingVirtualTryOnOperator(KlingTypedOperator):
    """Dress a person in a piece of clothing (``kolors-virtual-try-on``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    With ``wait_for_completion`` it pushes ``image_url``. It is paid by a pack of its own and holds one of its slots.

    :param human_image: picture of the person: URL, object-storage URI or path; jpg or png, up to 10 MB, sides
        from 300 pixels, ratio 1:2.5 to 2.5:1. Required.
    :param cloth_image: picture of the clothing, given likewise; kolors-virtual-try-on-v1-5 also takes an upper and
        a lower piece side by side. Required.
    :param model_name: ``kolors-virtual-try-on-v1-5`` (default) or ``kolors-virtual-try-on-v1``.
    :param callback_url: where Kling posts each change of status; it must reach it from outside.
    """

    kling_endpoint = "kolors-virtual-try-on"

    def __init__(
        self,
        *,
        human_image: str | None = None,
        cloth_image: str | None = None,
        model_name: str | None = None,
        callback_url: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep(locals())


class KlingImageRecognizeOperator(KlingTypedOperator):
    """Cut object, head, face and clothes out of a picture (``image-recognize``).

    Takes every argument of :class:`KlingSubmitOperator` besides ``endpoint`` and ``request``. An empty string
    means unset. All fields are templated and can be mapped; Kling's limits are checked before the request.

    Answered at once: it returns ``KlingTask.to_dict()`` without a sensor, with ``type`` (``object_seg``,
    ``head_seg``, ``face_seg``, ``cloth_seg``), ``is_contain`` and ``url`` of each part in ``["images"]``, and pushes
    ``image_url`` of the first.

    :param image: the picture: URL, object-storage URI or path; jpg or png, up to 10 MB, sides from 300 pixels,
        ratio 1:2.5 to 2.5:1. Required.
    """

    kling_endpoint = "image-recognize"

    def __init__(self, *, image: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._keep(locals())
