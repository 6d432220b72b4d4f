"""Typed results in; text, tables and videos out."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.report.checking import checkup_tables, checkup_tree
    from lewm_cli.report.choices import method_tables, method_tree, preset_tables, preset_text, protocol_tables
    from lewm_cli.report.comparing import compared_tables, compared_tree
    from lewm_cli.report.decoding import decode_tables
    from lewm_cli.report.details import details_tables, details_tree, training_tables
    from lewm_cli.report.evaluating import NOT_SHOWN, evaluation_tables
    from lewm_cli.report.forecasting import forecast_tables
    from lewm_cli.report.importing import import_tables, import_tree, survey_tables, survey_tree
    from lewm_cli.report.improving import improve_tables
    from lewm_cli.report.latent_space import latent_tables
    from lewm_cli.report.listing import inventory_tables, inventory_tree
    from lewm_cli.report.live_planning import demo_tables, demo_tree, served_tables
    from lewm_cli.report.offline_lines import offline_tables
    from lewm_cli.report.output import Output
    from lewm_cli.report.perturbing import dose_tables, perturbation_tables
    from lewm_cli.report.plans import check_plan_file, goal_image_tables, plan_tables, save_plan
    from lewm_cli.report.probing import head_tables, probe_tables
    from lewm_cli.report.recording_facts import dataset_tables, dataset_tree
    from lewm_cli.report.removing import removal_tables, removal_text, removal_tree
    from lewm_cli.report.rows import ResultRow, Table, log_rows, result_rows
    from lewm_cli.report.run_report import RunReport, next_commands
    from lewm_cli.report.summary import report_tables, report_tree, run_html
    from lewm_cli.report.surprising import ranked_episodes, surprise_csv, surprise_tables
    from lewm_cli.report.training_plot import plot_tables, plot_tree
    from lewm_cli.report.training_view import TrainingView
    from lewm_cli.report.verifying import verification_tables, verification_tree
    from lewm_cli.report.video import VideoFolder
    from lewm_cli.report.viewer.viewer import Viewed, render_view
    from lewm_cli.report.viewing import view_tables, view_tree
    from lewm_cli.report.written_files import conversion_tables, export_tables, packed_tables
else:
    __getattr__ = lazy_names(__name__)
