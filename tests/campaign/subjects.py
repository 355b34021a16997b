"""All kinds of files that the library reads or writes."""

from __future__ import annotations

from tests.campaign import data_subjects, program_subjects, run_subjects, weight_subjects
from tests.campaign.subject import Subject

SUBJECTS: dict[str, Subject] = {
    **run_subjects.SUBJECTS,
    **weight_subjects.SUBJECTS,
    **data_subjects.SUBJECTS,
    **program_subjects.SUBJECTS,
}
