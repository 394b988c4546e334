// The links at the head of a dashboard: those that it names, and those to all dashboards with a tag.
import { urlUtil } from "@grafana/data";
import { SceneObjectBase, sceneGraph } from "@grafana/scenes";
import { Dropdown, LinkButton, Menu, ToolbarButton } from "@grafana/ui";

function carried(model, link) {
  const kept = {};
  if (link.keepTime) Object.assign(kept, sceneGraph.getTimeRange(model).urlSync.getUrlState());
  if (link.includeVars) {
    for (const each of sceneGraph.getVariables(model).state.variables) Object.assign(kept, each.urlSync?.getUrlState());
  }
  return kept;
}

export class DashboardLinks extends SceneObjectBase {
  static Component = ({ model }) => {
    const { links } = model.useState();
    return links.map((link) => {
      const found = model.resolved(link);
      if (link.type === "dashboards" && link.asDropdown) {
        const menu = () => <Menu>{found.map(({ title, url }) => <Menu.Item key={url} label={title} url={url} />)}</Menu>;
        return (
          <Dropdown key={link.title} overlay={menu}>
            <ToolbarButton icon="bars" isOpen={false}>{link.title}</ToolbarButton>
          </Dropdown>
        );
      }
      return found.map(({ title, url }) => (
        <LinkButton key={url} href={url} tooltip={link.tooltip} icon="apps" size="md" variant="secondary" fill="outline">{title}</LinkButton>
      ));
    });
  };

  resolved(link) {
    if (link.type === "dashboards") {
      const tagged = this.state.others.filter(({ tags }) => link.tags.every((tag) => tags.includes(tag)));
      return tagged.map(({ uid, title }) => ({ title, url: urlUtil.renderUrl(`/d/${uid}`, carried(this, link)) }));
    }
    const url = sceneGraph.interpolate(this, link.url);
    return [{ title: link.title, url: urlUtil.appendQueryToUrl(url, urlUtil.toUrlParams(carried(this, link))) }];
  }
}
