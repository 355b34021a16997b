"""The reference implementation's numbers for three scores of each of seven series of NAB.

Labels as in `nab` of conftest.py, 250 thresholds, windows from 0 to the period. The scores: `z`,
the absolute z-score; `step`, the absolute first difference with 0 first; `random`, from
`numpy.random.RandomState(0).rand(T)`. The last column is the best point-adjusted F1 over 100 even
thresholds.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    series: str
    period: int
    score: str
    vus_pr: float
    vus_roc: float
    auc_pr: float
    auc_roc: float
    point_adjusted: float


# fmt: off
ROWS = [
    Row("realKnownCause/ec2_request_latency_system_failure", 6, "z",
        0.13577531118291317, 0.5129365007170661, 0.13774144592012902,
        0.5074222282653378, 1.0),
    Row("realKnownCause/ec2_request_latency_system_failure", 6, "step",
        0.13647043434277956, 0.5191663270341953, 0.14446433247443943,
        0.5143148055627581, 1.0),
    Row("realKnownCause/ec2_request_latency_system_failure", 6, "random",
        0.08429198225548233, 0.49403961252011147, 0.08394462978371132,
        0.48885203291108814, 0.9026315789473685),
    Row("realTraffic/occupancy_6005", 22, "z",
        0.11903296031921062, 0.5422130820187204, 0.11716881386613849,
        0.5331787549209315, 1.0),
    Row("realTraffic/occupancy_6005", 22, "step",
        0.09001516250927058, 0.44256755752646293, 0.08937686449796695,
        0.4307036686697098, 0.9979035639412998),
    Row("realTraffic/occupancy_6005", 22, "random",
        0.10028774740795941, 0.5045582398968588, 0.09694589807622436,
        0.49169476291217096, 0.8998109640831758),
    Row("realKnownCause/nyc_taxi", 125, "z",
        0.15777159786038975, 0.5874993086043393, 0.13891904598116966,
        0.5160588732679953, 0.9532623785284591),
    Row("realKnownCause/nyc_taxi", 125, "step",
        0.10366848180982988, 0.5173077715794758, 0.08764547115173897,
        0.4412203284603252, 0.7283441367118444),
    Row("realKnownCause/nyc_taxi", 125, "random",
        0.12453772084007443, 0.5762418554803646, 0.09930136823830096,
        0.4976554375307677, 0.9229390681003584),
    Row("artificialWithAnomaly/art_load_balancer_spikes", 71, "z",
        0.23371085485182114, 0.6123817603304714, 0.21355107171773485,
        0.5878265739365998, 1.0),
    Row("artificialWithAnomaly/art_load_balancer_spikes", 71, "step",
        0.20253299101431113, 0.6290283400058619, 0.18466411027843488,
        0.6146849110742787, 0.995049504950495),
    Row("artificialWithAnomaly/art_load_balancer_spikes", 71, "random",
        0.1077642113069753, 0.5181810429128861, 0.1027942328768293,
        0.4921616771474675, 0.9582836710369488),
    Row("realTraffic/speed_t4013", 247, "z",
        0.25842435666619556, 0.671346753325066, 0.20334156583507584,
        0.5232474219400799, 1.0),
    Row("realTraffic/speed_t4013", 247, "step",
        0.21662998648369444, 0.6891381993032147, 0.1498414666734365,
        0.525146856059518, 1.0),
    Row("realTraffic/speed_t4013", 247, "random",
        0.16367032915118132, 0.658032081574926, 0.09711804652057139,
        0.4913771435957832, 0.906764168190128),
    Row("realKnownCause/ambient_temperature_system_failure", 23, "z",
        0.32507587223395124, 0.7749169605525088, 0.32067388424274756,
        0.7619721527368419, 1.0),
    Row("realKnownCause/ambient_temperature_system_failure", 23, "step",
        0.10895942818860806, 0.5235480006664096, 0.10676021421941351,
        0.5153037913963493, 0.968561872909699),
    Row("realKnownCause/ambient_temperature_system_failure", 23, "random",
        0.09667945685460301, 0.49801379606827867, 0.09504730299443913,
        0.48994660088404546, 0.9570389953734303),
    Row("realAWSCloudwatch/ec2_cpu_utilization_5f5533", 8, "z",
        0.10913686241390129, 0.4959548622571921, 0.11284936521881536,
        0.4916083723492151, 1.0),
    Row("realAWSCloudwatch/ec2_cpu_utilization_5f5533", 8, "step",
        0.1220361367526634, 0.5617418388581502, 0.12801522219038225,
        0.5579860919856788, 1.0),
    Row("realAWSCloudwatch/ec2_cpu_utilization_5f5533", 8, "random",
        0.11140921444955423, 0.5320615350892374, 0.11047569525861894,
        0.5255108785458551, 0.9592326139088729),
]
# fmt: on

PUBLISHED_SUB_PCA = {
    "realKnownCause/ec2_request_latency_system_failure": 0.1803477717070326,
    "realTraffic/occupancy_6005": 0.1285931744564571,
    "realKnownCause/nyc_taxi": 0.2275982570031067,
    "artificialWithAnomaly/art_load_balancer_spikes": 0.8033203957417967,
    "realTraffic/speed_t4013": 0.8590523300391173,
    "realKnownCause/ambient_temperature_system_failure": 0.3747776678051102,
    "realAWSCloudwatch/ec2_cpu_utilization_5f5533": 0.1609946159515523,
}
"""VUS-PR of Sub-PCA in TSB-AD's published table, by series."""
