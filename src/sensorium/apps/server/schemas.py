"""What requests and answers look like. The description of a request's field is what an error says was expected."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_INPUTS = 2048


class Asked(BaseModel):
    """A request: a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class Url(BaseModel):
    """Where a picture is: a data: URL, or http(s) where the server was told to fetch."""

    url: str


class TextPart(BaseModel):
    """A text as a content part."""

    type: Literal["text"]
    text: str


class ImagePart(BaseModel):
    """A picture as a content part."""

    type: Literal["image_url"]
    image_url: Url


class TextDocument(Asked):
    """A text as a document."""

    text: str


class ImageDocument(Asked):
    """A picture as a document: its URL."""

    image: str


Part = str | TextPart | ImagePart | TextDocument | ImageDocument
MODEL = "the name of a served model"
NAME = Annotated[str, Field(description=MODEL, min_length=1, max_length=256)]
OPTIONAL_NAME = Annotated[str, Field(description=MODEL + "; the first where empty", max_length=256)]


Stop = Annotated[str, Field(min_length=1, max_length=100)]


class Embeddings(Asked):
    """What to embed. With `return_multivector` each answer holds all vectors of its input."""

    model: NAME
    input: Part | Annotated[list[Part], Field(min_length=1, max_length=MOST_INPUTS)] = Field(
        description="a text, or a list of 1 to 2048 texts and parts ({type: text, text} or {type: image_url, "
        "image_url: {url}})"
    )
    encoding_format: Literal["float", "base64"] = Field("float", description="float or base64")
    dimensions: int | None = Field(
        None, ge=1, description="a whole number from 1 to the width of the vectors, to cut them to and make unit again"
    )
    return_multivector: bool = Field(False, description="true or false")
    user: str = Field("", description="a text; it is not used")


class Embedding(BaseModel):
    """The vector of one input, as numbers or as base64 of float32; or, as `embeddings`, all its vectors. `truncated`
    where the text is longer than what was read of it."""

    object: Literal["embedding"]
    index: int
    truncated: bool
    embedding: list[float] | str | None = None
    embeddings: list[list[float]] | list[str] | None = None


class Usage(BaseModel):
    """Tokens of texts that were read, pictures count none; and how many texts are longer than what was read of them."""

    prompt_tokens: int
    total_tokens: int
    truncated: int


class EmbeddingList(BaseModel):
    """Embeddings in the order of the input."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: Usage


class AudioPart(BaseModel):
    """A sound as a content part."""

    type: Literal["input_audio"]
    input_audio: dict[str, Any]


class Message(BaseModel):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart | ImagePart | AudioPart]


class StreamOptions(Asked):
    """What a stream tells besides the answer."""

    include_usage: bool = False


class Chat(Asked):
    """A conversation, of which the last turn is to be answered. Runs are small: they read the last text and the last
    picture, and by default give the likeliest words."""

    model: NAME
    messages: list[Message] = Field(
        description="a list of 1 to 256 messages {role: system, user or assistant, content}; content is a text, or a "
        "list of parts ({type: text, text} or {type: image_url, image_url: {url}})",
        min_length=1,
        max_length=256,
    )
    max_tokens: int | None = Field(
        None, ge=1, description="a whole number from 1; an answer has no more tokens than the model has learnt to write"
    )
    max_completion_tokens: int | None = Field(None, ge=1, description="a whole number from 1, in place of max_tokens")
    temperature: float | None = Field(None, ge=0, le=2, description="a number from 0, the likeliest words, to 2")
    top_p: float | None = Field(None, gt=0, le=1, description="a number above 0 and up to 1")
    seed: int | None = Field(
        None, ge=-(1 << 63), lt=1 << 63, description="a whole number; the same one gives the same words"
    )
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = Field(
        None, description="a text of 1 to 100 characters, or a list of up to 4, before which the answer ends"
    )
    n: int | None = Field(None, ge=1, le=1, description="1: one answer per request")
    stream: bool | None = Field(None, description="true or false")
    stream_options: StreamOptions | None = Field(None, description="{include_usage: true or false}")
    user: str = Field("", description="a text; it is not used")


class Said(BaseModel):
    """An answer."""

    role: Literal["assistant"]
    content: str


class Choice(BaseModel):
    """An answer and why it ended: stop, or length where it was cut."""

    index: int
    message: Said
    finish_reason: Literal["stop", "length"]


class ChatUsage(Usage):
    """Tokens of the question, and of the answer."""

    completion_tokens: int


class ChatCompletion(BaseModel):
    """The answer to a conversation."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage


class Images(Asked):
    """What to paint."""

    model: NAME
    prompt: str = Field(description="a text", min_length=1, max_length=32_768)
    n: int | None = Field(None, ge=1, le=8, description="a whole number from 1 to 8")
    size: str | None = Field(None, description="auto, or the size that the model paints in", max_length=32)
    response_format: str | None = Field(None, description="b64_json: this server keeps no pictures", max_length=32)
    seed: int | None = Field(
        None, ge=-(1 << 63), lt=1 << 63, description="a whole number; the same one gives the same pictures"
    )
    user: str = Field("", description="a text; it is not used")


class Painted(BaseModel):
    """A picture as base64 of a PNG."""

    b64_json: str


class ImageList(BaseModel):
    """Pictures; `truncated` where the prompt is longer than what was read of it."""

    created: int
    data: list[Painted]
    size: str
    output_format: Literal["png"]
    truncated: bool


class Rerank(Asked):
    """Documents to put in order, and what for."""

    model: NAME
    query: Part = Field(description="a text, {text}, {image: URL} or a content part")
    documents: list[Part] = Field(
        description="a list of 1 to 2048 texts, {text}, {image: URL} or content parts",
        min_length=1,
        max_length=MOST_INPUTS,
    )
    top_n: int | None = Field(None, ge=1, description="a whole number from 1")
    return_documents: bool = Field(False, description="true or false")


class Ranked(BaseModel):
    """Where a document stood, and how well it matches: higher is closer."""

    index: int
    relevance_score: float
    document: Any = None


class RerankList(BaseModel):
    """Documents by falling score."""

    model: str
    results: list[Ranked]
    usage: Usage


class Search(Asked):
    """Words, a picture, or both, and where to look."""

    query: str = Field("", description="words", max_length=32_768)
    image: str = Field("", description="a data: URL of a picture, or a file in a multipart form")
    model: OPTIONAL_NAME = ""
    data: str = Field(
        "", description="the name of a served data set or index; what the model was trained on where empty"
    )
    top: int = Field(10, ge=1, le=1000, description="a whole number from 1 to 1000")
    language: str = Field("", description="a language that the model was trained with, such as fr", max_length=64)
    where: str = Field("", description="a filter on the columns of an index", max_length=10_000)
    hybrid: bool = Field(False, description="true or false")


class Found(BaseModel):
    """A row: `seen` is train, validation or test of the model, empty where it has never had the picture."""

    id: str
    score: float
    text: str
    thumb_url: str
    seen: str
    values: dict[str, Any] | None = None


class FoundList(BaseModel):
    """Rows by falling score."""

    object: Literal["list"]
    model: str
    data: str
    results: list[Found]


class Predict(Asked):
    """What to predict, and from what: one object per row, key -> value (a text, a picture's URL, a number, a label)."""

    model: OPTIONAL_NAME = ""
    of: str = Field("", description="what the model predicts; the first where empty", max_length=256)
    inputs: list[dict[str, Any]] = Field(
        description="a list of 1 to 256 objects, each with the keys that the model needs", min_length=1, max_length=256
    )


class Prediction(BaseModel):
    """What is predicted of one row; which fields are there depends on the kind."""

    index: int
    label: str | None = None
    scores: dict[str, float] | None = None
    value: float | None = None
    boxes: list[list[float]] | None = None
    masks: list[str] | None = None
    spans: list[list[int]] | None = None


class PredictionList(BaseModel):
    """Predictions in the order of the inputs."""

    object: Literal["list"]
    model: str
    of: str
    kind: str
    data: list[Prediction]


class ModelCard(BaseModel):
    """A served run and what it can do; `paints` is the size of its pictures, empty where it paints none."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    paper: str
    embeds: dict[str, dict[str, Any]]
    ranks: bool
    predicts: dict[str, str]
    writes: dict[str, str]
    paints: str


class ModelList(BaseModel):
    """Every served run."""

    object: Literal["list"]
    data: list[ModelCard]


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"]


class ErrorDetail(BaseModel):
    """What is wrong; `param` names the field."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(BaseModel):
    """A refusal."""

    error: ErrorDetail


def expected(schema: type[BaseModel]) -> dict[str, str]:
    """Field -> what it expects."""
    return {name: info.description or "" for name, info in schema.model_fields.items()}
