"""Continue prompts with a finished run: `python -m titans_lab.evaluation.sample`.

Input and output are those of `titans_lab.evaluation.examined`, with a list of `SampleRequest`s.
"""

from __future__ import annotations

from typing import Any, final

from titans_lab.evaluation.examined import Examined, serve
from titans_lab.evaluation.samples import SampleRequest


@final
class SamplingRun(Examined):
    """A run that continues prompts."""

    def reply(self, asked: Any) -> dict[str, Any]:
        """Return the continuation of a `SampleRequest`; nothing is recorded."""
        request = SampleRequest(**asked)
        return {"text": self.trained.generate(request.prompt, request.tokens, request.temperature, request.seed)}


if __name__ == "__main__":
    serve(SamplingRun, "titans_lab.evaluation.sample", "Continue prompts with a finished run.")
