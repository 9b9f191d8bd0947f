"""What packages are known not to put on spans: no rule can repair it, so it is said.

Data with versions, read from captures of November 2026. A later version may have mended it; the text names the
version that was seen.
"""

from __future__ import annotations

KNOWN: tuple[tuple[str, str, str], ...] = (
    ("opentelemetry.instrumentation.openai", "1.", "Responses API, legacy completions and abandoned streams give no span (elastic 1.2)"),
    ("opentelemetry.instrumentation.openai_v2", "", "Responses API, parse() and legacy completions give no span; no cached or reasoning tokens (2.4b0)"),
    ("opentelemetry.instrumentation.genai.openai", "", "legacy completions give no span (1.3b0)"),
    ("opentelemetry.instrumentation.genai.langchain", "", "embeddings give no span (1.3b0)"),
    ("opentelemetry.instrumentation.genai.dspy", "", "embeddings give no span; answers from DSPy's cache look like calls without usage; streams through LiteLLM carry its estimate (1.3b0)"),
    ("opentelemetry.instrumentation.genai.agno", "", "agents and tools only, no model calls (1.3b0): add the client's own instrumentation"),
    ("opentelemetry.instrumentation.genai.llama_index", "", "retrieval, agents and tools only, no model calls (1.3b0): add the client's own instrumentation"),
    ("opentelemetry.instrumentation.genai.openai_agents", "", "agents and tools only, no model calls (1.3b0): add the client's own instrumentation"),
    ("opentelemetry.instrumentation.genai.smolagents", "", "agents only, no model calls (1.2b0): add the client's own instrumentation"),
    ("opentelemetry.util.genai.handler", "0.1", "streams and Responses API calls carry no usage (splunk 0.1.16)"),
    ("opentelemetry.util.genai.handler", "0.4", "Responses API, parse() and legacy completions give no span; no cached or reasoning tokens (openai-v2 2.4b0)"),
    ("opentelemetry.util.genai.handler", "0.9", "Responses API calls give no span (loongsuite-litellm 0.9)"),
    ("opentelemetry.instrumentation.google_genai", "", "automatic function calling is one span with the last request's usage (1.3b0)"),
    ("opentelemetry.instrumentation.anthropic", "", "streamed output tokens are one too many (Traceloop 0.62.4)"),
    ("opentelemetry.instrumentation.bedrock", "", "the request model loses its vendor (Traceloop 0.62.4)"),
    ("opentelemetry.instrumentation.bedrock", "", "InvokeModel's cached tokens are not recorded; Llama streams lack output (Traceloop 0.62.4)"),
    ("opentelemetry.instrumentation.botocore", "", "InvokeModel's cached tokens are not recorded; tokens of Mistral and Cohere models are estimated (0.66b2)"),
    ("opentelemetry.instrumentation.genai.bedrock", "", "cached tokens of InvokeModel for Nova are not recorded (1.3b0)"),
    ("opentelemetry.instrumentation.cohere", "", "embed and rerank carry no usage; a stream that failed looks like success (Traceloop 0.62.4)"),
    ("opentelemetry.instrumentation.google_generativeai", "", "embeddings give no span; automatic function calling is one span with the last request's usage (Traceloop 0.62.4)"),
    ("opentelemetry.instrumentation.together", "", "the asynchronous client and embeddings give no span (Traceloop 0.62.4)"),
    ("opentelemetry.instrumentation.voyageai", "", "multimodal embeddings give no span (Traceloop 0.62.4)"),
    ("opentelemetry.instrumentation.vertexai", "2.", "streams give no span; thoughts and cached tokens are not recorded (2.2b0)"),
    ("opentelemetry.instrumentation.crewai", "", "no model calls (Traceloop 0.62.4 on crewai 1.15)"),
    ("opentelemetry.instrumentation.llamaindex", "", "no model calls with llama-index-llms-openai 0.8 (Traceloop 0.62.4)"),
    ("opentelemetry.instrumentation.ollama", "", "embeddings give no span (Traceloop 0.62.4)"),
    ("opentelemetry.instrumentation.openai_agents", "", "the request model is the answering one; no cached or reasoning tokens (0.1.0)"),
    ("openinference.instrumentation.crewai", "", "no model calls; the crew's sum only inside JSON content (1.1.21)"),
    ("openinference.instrumentation.dspy", "", "no usage: LiteLLM's instrumentation has it, where DSPy is told to ask through LiteLLM (0.1.48 on DSPy 3.4)"),
    ("openinference.instrumentation.google_genai", "", "automatic function calling is one span with the last request's usage"),
    ("openinference.instrumentation.haystack", "", "cached and reasoning tokens and embedding usage are not recorded (0.1.46)"),
    ("openinference.instrumentation.llama_index", "", "embeddings carry no usage; streams are ended when they are opened (4.6.1)"),
    ("openinference.instrumentation.ollama", "", "generate() and embeddings give no span (0.1.13)"),
    ("openinference.instrumentation.bedrock", "", "InvokeModel embeddings carry no usage (0.1.61)"),
    ("openinference.instrumentation.groq", "", "streams carry no usage; embeddings give no span (0.1.33)"),
    ("openinference.instrumentation.together", "", "embeddings and legacy completions give no span; no cached or reasoning tokens"),
    ("openinference.instrumentation.mistralai", "", "embeddings and fill-in-the-middle give no span"),
    ("openinference.instrumentation.portkey", "", "streams carry no usage and look like success where they broke; embeddings and Responses give no span"),
    ("openinference.instrumentation.ag2", "", "agents and tools only, no model calls: add the client's own instrumentation"),
    ("openinference.instrumentation.guardrails", "", "no model calls of its own: add the client's own instrumentation"),
    ("openinference.instrumentation.claude_agent_sdk", "", "agents and tools only: an agent's sum is all that is told of its calls"),
    ("opentelemetry.instrumentation.groq", "", "embeddings give no span (Traceloop 0.62.4)"),
    ("opentelemetry.instrumentation.agno", "", "agents and tools only, no model calls (Traceloop 0.62.4): add the client's own instrumentation"),
    ("opentelemetry.instrumentation.genai.portkey", "", "embeddings and Responses give no span"),
    ("openinference.instrumentation.instructor", "", "no model calls of its own (0.1.29)"),
    ("openinference.instrumentation.google_adk", "", "calls are missing on ADK 2 (1.0.5)"),
    ("@arizeai/openinference-instrumentation-openai", "", "failed calls give no span, embeddings no usage (4.2.7)"),
    ("@traceloop/instrumentation-openai", "", "failed calls and embeddings give no span (0.27)"),
    ("@arizeai/openinference-instrumentation-openai", "", "streamed legacy completions give no span; chat streams without include_usage no usage (4.2.7)"),
    ("@arizeai/openinference-instrumentation-langchain", "", "embeddings and streams that were left give no span; writes to a cache are not recorded (4.1.1)"),
    ("@traceloop/instrumentation-openai", "", "streams carry no usage; those that were left or broke give no span (0.27)"),
    ("@traceloop/instrumentation-langchain", "", "embeddings and streams that were left give no span (0.27)"),
    ("@traceloop/instrumentation-cohere", "", "no usage; the v2 client and embeddings give no span (0.27)"),
    ("@traceloop/instrumentation-together", "", "embeddings, failed calls and streams that were left give no span (0.27)"),
    ("@traceloop/instrumentation-google-generativeai", "", "embeddings give no span (0.27)"),
    ("@opentelemetry/instrumentation-openai", "", "legacy completions, Responses and streams that were left or broke give no span; no cached or reasoning tokens (0.21)"),
    ("@elastic/opentelemetry-instrumentation-openai", "", "legacy completions, Responses and streams that were left or broke give no span; no cached or reasoning tokens (0.5)"),
    ("@opentelemetry/instrumentation-aws-sdk", "", "a stream of Claude's InvokeModel has the output count it began with, which is dropped (0.78)"),
    ("@openlit/instrumentation-openai", "", "legacy completions give no span (1.15)"),
    ("@openlit/instrumentation-anthropic", "", "the beta client gives no span (1.15)"),
    ("@openlit/instrumentation-langchain", "", "the input is an estimate, the answering model and for Anthropic the requested one are not recorded (1.15)"),
    ("@openlit/instrumentation-vercel-ai", "", "several steps are one span; no usage (1.15)"),
    ("@langtrase/typescript-sdk", "", "streams are estimated; input and output are exchanged, of Cohere perhaps (6.3)"),
    ("ai", "", "streams that broke, were left or aborted give no span of a call (5.0, 6.0)"),
    ("strands-agents", "", "streams that were left give no span of a call (1.16)"),
    ("autogen-core", "", "agents and tools only, no model calls: add the client's own instrumentation"),
    ("haystack", "", "components outside a pipeline give no span; usage only with content tracing on"),
    ("langfuse-sdk", "", "LangChain embeddings give no span (5.0); in JavaScript neither do OpenAI streams that were left or broke (5.11)"),
    ("langsmith", "", "embeddings give no span; some failed runs have status OK (0.15); in JavaScript wrapped clients' streams give none (0.12)"),
    ("langtrace_python_sdk", "", "tokens of streams are estimated where none were reported; no finish reasons (3.8)"),
    ("traceai_openai", "", "cached and reasoning tokens, the answering model and finish reasons are not recorded (0.1.10)"),
    ("litellm", "", "the failed first attempt of a fallback gives no span of its own (1.106)"),
    ("mistralai_sdk_tracer", "", "streams and failed calls are not recognisable as model calls and carry no usage (1.x)"),
    ("mlflow", "", "LangChain embeddings, abandoned streams and some stream helpers give no span; Anthropic streams carry no usage (3.17)"),
    ("openlit", "", "streams broken by the server give no span; tokens are estimated where none were reported (1.45)"),
    ("pydantic-ai", "", "embeddings give no span (2.68)"),
    ("logfire.", "", "a stream broken by the server looks like success (5.2)"),
)  # fmt: skip
"""(beginning of the scope, beginning of its version or "", what is missing)."""


def of(scope: str | None, version: str | None) -> list[str]:
    """What spans of this scope and version are known to lack."""
    return [text for begin, since, text in KNOWN if _begins(scope or "", begin) and (version or "").startswith(since)]


def _begins(scope: str, begin: str) -> bool:
    """`a.b` is the scope `a.b` and those below it (`a.b.c`, `a.b-c`), not `a.bc`, `a.b_c` or another way of its own (`a.b._c`)."""
    rest = scope.removeprefix(begin)
    below = rest[:1] in (".", "-") and not rest.startswith("._")
    return scope.startswith(begin) and (not rest or begin.endswith(".") or below)
