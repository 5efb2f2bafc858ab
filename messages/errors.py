"""Errors for people: a stable code for programs, a sentence, and what to do.

raise UserError(ErrorCode.NO_FRAME, "There is no frame yet.", "Ask again in a second.")
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Every code on the wire; `meaning` says what it means and what to do.

    Codes are a contract with users: new ones are spelled with underscores, old ones stay as they are.
    """

    meaning: str

    def __new__(cls, code: str, meaning: str = "") -> ErrorCode:
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    @classmethod
    def _missing_(cls, value: object) -> ErrorCode | None:
        """Earlier releases said `too-large`."""
        return cls.TOO_LARGE if value == "too-large" else None

    # Every command
    UNKNOWN_VERB = "unknown-verb", "There is no such command."
    MALFORMED = "malformed", "A field is wrong; the message says which."
    NO_ANSWER = "no-answer", "The service did not answer in time. The same id may be sent again."
    MALFORMED_REPLY = "malformed-reply", "The service answered something unreadable. Start it again."
    INTERNAL_ERROR = "internal_error", "The service failed at this command, and goes on. See its log."
    NOT_ALLOWED = (
        "not-allowed",
        "The command is not taken through this door. Over MQTT, `mqtt.commands` names those that are.",
    )
    RATE_LIMITED = "rate-limited", "Commands came too fast. Wait a second."
    RETAINED = (
        "retained",
        "The command had the retain flag: it would be done again at every connection. Clear it.",
    )

    # Capture
    UNKNOWN_SOURCE = "unknown-source", "No source has that name. The message lists those that there are."
    NO_FRAME = "no-frame", "There is no frame to show. See the state of capture."

    # The pad
    NOTHING_TO_UNDO = "nothing-to-undo", "There is nothing to take back."
    STROKE_EXISTS = "stroke-exists", "There is a stroke of that id already. Choose another id."
    NO_SUCH_STROKE = "no-such-stroke", "No stroke of that id is being drawn."
    TOO_MANY_HANDS = "too-many-hands", "Too many strokes are being drawn at once. Finish one first."
    NOT_YOURS = "not-yours", "Another author draws that stroke."
    FINISHED = "finished", "The stroke is finished. Begin another."
    STROKE_FULL = "stroke-full", "The stroke has as many points as it may have. Begin another."
    CANVAS_FULL = "canvas-full", "The canvas holds no more. Erase something."
    UNREAD = "unread", "The canvas could not be read. The message says why."

    # The recognizer
    FIXED = "fixed", "The model is set in the settings and can't be changed by a command."
    UNUSABLE = "unusable", "That model can't be used. The message says why."
    MODEL = "model", "The model failed at these boxes. Ask again: another one reads now."
    NO_TRIAL = "no-trial", "That model is not on trial."
    NO_CANDIDATE = "no-candidate", "No model is on trial."

    # An upload
    OUT_OF_ORDER = "out-of-order", "A part of the file is missing before this one. Begin again."

    # Commands and models
    BUSY = "busy", "Another model is just being taken, or too many commands wait. Wait for it."
    EXPIRED = "expired", "The time of the bundle, or of the command, has passed. Ask for a newer one."
    TOO_LARGE = "too_large", "A file is larger than a digit model needs, or a message than is allowed."

    # The file
    MISSING = "missing", "The file or folder, or a part of the bundle, isn't there. Copy it again, whole."
    NOT_A_FILE = (
        "not_a_file",
        "It is a folder, a link, a pipe or a device. Put the model's file itself there.",
    )
    UNREADABLE = (
        "unreadable",
        "The file is there and can't be read now: its permissions, or the disk. The sentence says why.",
    )
    EMPTY = "empty", "The file holds nothing, or nothing but zeros. Download or copy it again."
    CHANGED = "changed", "The file changed while it was read. Wait until the copy is finished."
    NO_SPACE = (
        "no_space",
        "The disk is too full for another model. Free some space; old models go by `model remove`.",
    )
    UNKNOWN_FORMAT = (
        "unknown_format",
        "It is no `.h5`, `.keras`, `.tflite` or bundle, whatever its name. Save it with `model.save(…)`.",
    )
    OTHER_FORMAT = (
        "other_format",
        "It is a model of another program: a SavedModel, ONNX, PyTorch, TensorFlow.js, for a Coral. "
        "The sentence says how to convert it.",
    )

    # The bundle
    BAD_MANIFEST = (
        "bad_manifest",
        "manifest.json is not valid. Make the bundle anew with `smartcar model bundle`.",
    )
    WRONG_SIZE = (
        "wrong_size",
        "A file's size is not the manifest's: cut off or replaced. Copy the bundle again.",
    )
    WRONG_HASH = (
        "wrong_hash",
        "A file's SHA-256 is not the manifest's: damaged or replaced. Copy the bundle again.",
    )
    BAD_GOLDEN = "bad_golden", "golden.npz holds no usable digits and labels. Make the bundle anew."
    BAD_ARCHIVE = "bad_archive", "The zip is damaged. Copy or pack the bundle again."
    UNSAFE_ARCHIVE = (
        "unsafe_archive",
        "The zip holds what no bundle or `.keras` file holds: paths out of it, links, files twice, "
        "more than it claims. Don't trust where it comes from.",
    )

    # The signature
    BAD_KEY = (
        "bad_key",
        "A key file is no key, or others may read it. Make one with `smartcar keys generate`.",
    )
    UNSIGNED = (
        "unsigned",
        "The bundle has no signature. Sign it with `smartcar model sign`, or put it in the data folder.",
    )
    UNKNOWN_KEY = (
        "unknown_key",
        "It is signed by a key this car doesn't trust. Add the public key to the car's settings.",
    )
    BAD_SIGNATURE = (
        "bad_signature",
        "The signature doesn't fit the manifest: changed after signing. Fetch it again.",
    )

    # The Keras file
    DAMAGED = "damaged", "The Keras file can't be read to its end: cut off or damaged. Copy or save it again."
    UNSUPPORTED_LAYOUT = (
        "unsupported_layout",
        "HDF5 of a kind that Keras doesn't write. Save the model with `model.save(…)`.",
    )
    EXTERNAL_DATA = (
        "external_data",
        "It points to data outside itself, or links within. A model holds its own weights; save it anew.",
    )
    COMPRESSED = "compressed", "Weights are chunked or compressed. Save the model anew with `model.save(…)`."
    BAD_CONFIG = (
        "bad_config",
        "It has no network, only weights, or one that makes no sense. Use `model.save(…)`.",
    )
    CUSTOM_CODE = (
        "custom_code",
        "It names code: a Lambda layer, a custom object, a module that is not Keras's. "
        "Build it from Keras's own layers, or convert it on a PC with `smartcar model bundle`.",
    )
    UNSUPPORTED_LAYER = (
        "unsupported_layer",
        "A layer, or a way of connecting layers, the car doesn't know. "
        "Leave it out, or convert on a PC with `smartcar model bundle`.",
    )
    UNSUPPORTED_SETTING = (
        "unsupported_setting",
        "A layer has a setting the car doesn't know. "
        "Leave it out, or convert on a PC with `smartcar model bundle`.",
    )
    TOO_COMPLEX = (
        "too_complex",
        "Too many layers, too large shapes or too many weights. Build a smaller network.",
    )
    BAD_WEIGHTS = "bad_weights", "Weights are missing or don't fit the layers. Save the whole model anew."

    # The model
    BAD_MODEL = (
        "bad_model",
        "LiteRT can't open the `.tflite`, or it needs operations the car lacks. Convert it anew.",
    )
    NOT_FINITE = (
        "not_finite",
        "Weights or answers are NaN or infinite: the training diverged. Train again, slower.",
    )
    WRONG_INPUT = (
        "wrong_input",
        "The input is not one picture of a digit: (28, 28), (28, 28, 1), (784,), or another size.",
    )
    WRONG_OUTPUT = (
        "wrong_output",
        "The output is not one number for each label. Ten digits need `Dense(10)` at the end.",
    )
    INACCURATE = (
        "inaccurate",
        "It reads too few golden digits, however they are given to it. Train it on more digits.",
    )
    TOO_SLOW = "too_slow", "Five digits take it too long on this machine. Build a smaller network."
    TIMED_OUT = (
        "timed_out",
        "Reading or testing it took too long and was stopped. Save or train it anew, smaller.",
    )
    OUT_OF_MEMORY = (
        "out_of_memory",
        "Reading or testing it needed more memory than allowed. Build a smaller network.",
    )
    CRASHED = (
        "crashed",
        "It crashed the process that tried it, which is why that is thrown away. Save it anew.",
    )

    # The store
    UNKNOWN_MODEL = "unknown_model", "No model of that digest is in the store. See `smartcar model list`."
    NO_PREVIOUS = "no_previous", "There is no earlier model to go back to."
    IN_USE = "in_use", "Active, previous and factory models are not removed. Activate another one first."
    STORE_LOCKED = "store_locked", "Another process has the model store open. Stop the other updater."
    STORE_DAMAGED = "store_damaged", "The model store can't be read or written. The sentence says why."

    # What is offered
    NO_OFFER = (
        "no_offer",
        "No offer of that name has come from the broker. See `smartcar status`; publish it.",
    )
    BAD_OFFER = "bad_offer", "What stands there is no offer. Publish it anew with `smartcar model publish`."
    INCOMPLETE = (
        "incomplete",
        "Parts are missing, late, or not what was signed. It is tried again by itself; publish it anew.",
    )
    NOT_FETCHED = "not_fetched", "The URL doesn't give the file that was promised. The sentence says why."

    # The lifecycle
    PINNED = "pinned", "The active model is pinned. `smartcar model unpin` first."
    OLDER = (
        "older",
        "An earlier release than the car has had. At the car, `smartcar model activate` still takes it.",
    )
    NOT_FOR_THIS_CAR = "not_for_this_car", "The bundle is for another car or group."
    REFUSED_BEFORE = (
        "refused_before",
        "The same file was refused or fell back before; not tried again by itself.",
    )
    NOT_YET = "not_yet", "The publisher lets other cars take it first. It is taken once this one is let."
    REPLACED = (
        "replaced",
        "It was taken from its offer, and another model since. `smartcar model unpin` takes it again.",
    )
    TRIAL_FAILED = "trial_failed", "It failed on trial, and the car went back to the model before."

    # Not on the wire: why a program doesn't begin
    CANNOT_START = "cannot_start", "A program can't run as things are. The sentence says why."
    BAD_SETTINGS = "bad_settings", "A setting is wrong. The sentence says which."
    FAILED = "failed", "What was asked can't be done. The sentence says why."


_ALL = tuple(ErrorCode)
COMMAND_CODES = _ALL[: _ALL.index(ErrorCode.MISSING)]
"""Why a command is refused."""
MODEL_CODES = _ALL[_ALL.index(ErrorCode.BUSY) : _ALL.index(ErrorCode.CANNOT_START)]
"""Why a model is not taken."""


class UserError(Exception):
    """What can't be done, for people: a stable `code`, a `sentence`, and in `remedy` what to do.

    Both texts are whole sentences. `str()` joins them.
    """

    def __init__(self, code: ErrorCode | str, sentence: str, remedy: str = "") -> None:
        super().__init__(sentence, remedy)
        self.code = ErrorCode(code)
        self.sentence = sentence
        self.remedy = remedy

    @property
    def message(self) -> str:
        return f"{self.sentence} {self.remedy}".rstrip()

    def __str__(self) -> str:
        return self.message


class CannotStart(UserError):
    """A process can't run as things are; nothing catches it but what started the process."""

    def __init__(self, sentence: str, remedy: str = "") -> None:
        super().__init__(ErrorCode.CANNOT_START, sentence, remedy)
