"""Continue prompts with a finished run: `python -m titans_lab.evaluation.sample`.

Input and output are those of `titans_lab.evaluation.examined`, with a list of `SampleRequest`s.
"""

from __future__ import annotations

from typing import Any, final

import torch

from titans.models.generation import generate
from titans_lab.errors import UserError
from titans_lab.evaluation.examined import Examined, serve
from titans_lab.evaluation.samples import SampleRequest
from titans_lab.training.precision import products_in


@final
class SamplingRun(Examined):
    """A run that continues prompts."""

    def reply(self, asked: Any) -> dict[str, Any]:
        """Return the continuation of a `SampleRequest`; nothing is recorded."""
        request = SampleRequest(**asked)
        trained = self.trained
        tokens = trained.tokenizer.encode(request.prompt)
        if not tokens:
            raise UserError("--prompt: is empty; give the text to continue")
        generator = torch.Generator(self.device).manual_seed(request.seed)
        with products_in(trained.config.train.precision, self.device):
            drawn = generate(
                trained.model,
                torch.tensor([tokens], device=self.device),
                request.tokens,
                request.temperature,
                generator,
            )
        pieces = len(trained.tokenizer.pieces)
        known = [token for token in drawn[0].tolist() if token < pieces]
        return {"text": trained.tokenizer.decode(known).decode(errors="replace")}


if __name__ == "__main__":
    serve(SamplingRun, "titans_lab.evaluation.sample", "Continue prompts with a finished run.")
