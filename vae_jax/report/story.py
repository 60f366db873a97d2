"""The chapters of a report, in the order that tells the story of a run; each study belongs to one."""

WENT_IN = "What went in"
COMES_BACK = "How well it comes back"
LATENT_SPACE = "What the latent space looks like"
MADE_FROM_IT = "What can be made from it"
FAILS = "Where it fails"

CHAPTERS = (WENT_IN, COMES_BACK, LATENT_SPACE, MADE_FROM_IT, FAILS)
